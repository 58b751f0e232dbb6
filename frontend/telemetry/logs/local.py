"""Sinks on this machine: a stream such as stdout, and a file that is rotated.

While the disk is full, lines wait in memory, up to the bound of the queue.
"""

import errno
import os
import threading
import time
from pathlib import Path

from frontend.telemetry.logs.lines import Line
from frontend.telemetry.logs.sink import Losses, Waiting

_RETRY_S = 1.0


class LocalSink:
    """Takes lines to a thread that writes them."""

    is_text = False

    def __init__(self, name: str, max_lines: int) -> None:
        self.name, self.losses = name, Losses()
        self._waiting = Waiting(max_lines, self.losses)
        self._thread = threading.Thread(target=self._run, name=f"log-{name}", daemon=True)
        self._gives_up = threading.Event()
        self.unfinished = b""

    @property
    def waiting_bytes(self) -> int:
        """Nothing waits on disk."""
        return 0

    def put(self, line: Line) -> None:
        """Takes a line."""
        self._waiting.put(line.json)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Writes what is left, if that takes no longer."""
        self._waiting.close()
        self._thread.join(timeout_s)
        self._gives_up.set()
        self.losses.add(len(self._waiting) + self.unfinished.count(b"\n"))

    def write(self, lines: bytes) -> None:
        """Writes whole lines, or nothing of them and raises OSError. What it has begun to write is
        in `unfinished`, and comes first the next time."""
        raise NotImplementedError

    def _run(self) -> None:
        while not self._waiting.is_closed or len(self._waiting) or self.unfinished:
            # what is unfinished is tried again soon, also where no more lines come
            lines = self._waiting.take(_RETRY_S if self.unfinished else None)
            if not lines and not self.unfinished:
                continue
            try:
                self.write(b"".join(line + b"\n" for line in lines))
            except BrokenPipeError:
                self.losses.add(len(lines))  # nobody will ever read it
            except OSError:
                self._waiting.give_back(lines)
                if self._gives_up.wait(_RETRY_S):
                    return


class StreamSink(LocalSink):
    """A file descriptor that is open already. `is_text`: lines are for people."""

    def __init__(self, name: str, descriptor: int, max_lines: int, *, is_text: bool) -> None:
        super().__init__(name, max_lines)
        self._descriptor, self.is_text = descriptor, is_text

    def put(self, line: Line) -> None:
        """Takes a line."""
        self._waiting.put(line.text if self.is_text else line.json)

    def write(self, lines: bytes) -> None:
        """Writes whole lines."""
        left = memoryview(lines)
        while left:
            left = left[self._put(left) :]

    def _put(self, left: memoryview) -> int:
        try:
            return os.write(self._descriptor, left)
        except BlockingIOError:  # a pipe that another program made non-blocking
            time.sleep(0.01)
            return 0


class FileSink(LocalSink):
    """`path`, and up to `kept` older files `path.1`, `path.2` …; each of about `max_bytes`."""

    def __init__(self, path: Path, max_bytes: int, kept: int, max_lines: int) -> None:
        super().__init__("file", max_lines)
        self._path, self._max_bytes, self._kept = path, max_bytes, kept
        self._file: int | None = None

    def write(self, lines: bytes) -> None:
        """Writes whole lines, to a new file where the current one is full or was moved."""
        if self.unfinished:
            # not into a new file, which would begin with the rest of a line
            self.unfinished = self.unfinished[os.write(self._open(0), self.unfinished) :]
            if self.unfinished:
                raise OSError(errno.ENOSPC, "the disk took a part of a line")
        if lines:
            self.unfinished = lines[os.write(self._open(len(lines)), lines) :]

    def close(self, timeout_s: float) -> None:
        """Writes what is left."""
        super().close(timeout_s)
        if self._file is not None and not self._thread.is_alive():
            os.close(self._file)
            self._file = None

    def _open(self, more_bytes: int) -> int:
        if self._file is not None:
            now = os.fstat(self._file)
            if self._is_moved(now):
                os.close(self._file)
                self._file = None
            elif now.st_size and now.st_size + more_bytes > self._max_bytes:
                os.close(self._file)
                self._file = None
                self._rotate()
        if self._file is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
        return self._file

    def _is_moved(self, now: os.stat_result) -> bool:
        """Whether another program, such as logrotate, took the file away."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return (there.st_dev, there.st_ino) != (now.st_dev, now.st_ino)

    def _rotate(self) -> None:
        names = [self._path.with_name(f"{self._path.name}.{n}") for n in range(1, self._kept + 1)]
        older = [self._path, *names]
        if not names:
            self._path.unlink()
        for source, target in reversed([*zip(older, names, strict=False)]):
            if source.exists():
                source.replace(target)
