"""Lines that wait on disk for a sink, in files of one batch each, until the sink has them.

A batch is removed only when it was sent, so what a process leaves behind is sent by the next one.
Each process has a folder of its own and holds a lock in it; folders without one are of processes
that ended. Two threads use a spool: one appends, the other takes.
"""

import contextlib
import fcntl
import os
import threading
import time
from pathlib import Path

from frontend.telemetry.logs.sink import MAX_BATCH_BYTES

_LOCK, _OPEN, _WHOLE = "lock", ".open", ".jsonl"


class Spool:
    """A bounded spool of this process below `root`; it takes over those of processes that ended."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root, self._max_bytes = root, max_bytes
        self._folder = root
        self._lock = threading.Lock()
        self._owned: int | None = None
        self._file: int | None = None
        self._path: Path | None = None
        self._size = 0
        self._last = 0
        self.size_bytes = 0

    def open(self) -> None:
        """Makes the folder and takes over what ended processes left. Raises OSError if the folder
        cannot be used."""
        # a process that starts at this moment may take the folder over before it is locked
        while self._owned is None:
            self._folder = self._root / f"{time.time_ns():020d}-{os.getpid()}"
            self._folder.mkdir(mode=0o700, parents=True)
            self._owned = _locked(self._folder)
        for folder in sorted(self._root.iterdir()):
            if folder != self._folder and (owned := _locked(folder)) is not None:
                self._adopt(folder)
                os.close(owned)
        self.size_bytes = sum(file.stat().st_size for file in self._folder.glob("*.*"))

    def append(self, lines: list[bytes]) -> int:
        """Keeps lines; returns how many could not be kept, as on a full disk."""
        with self._lock:
            for number, line in enumerate(lines):
                if self.size_bytes + len(line) + 1 > self._max_bytes:
                    return len(lines) - number
                try:
                    self._write(line + b"\n")
                except OSError:
                    self._seal()
                    return len(lines) - number
        return 0

    def take(self) -> tuple[Path, list[bytes]] | None:
        """The oldest batch and its lines, or None if none waits. Raises OSError if it cannot be
        read."""
        with self._lock:
            whole = sorted(self._folder.glob(f"*{_WHOLE}"))
            if not whole:
                self._seal()
                whole = sorted(self._folder.glob(f"*{_WHOLE}"))
        if not whole:
            return None
        data = whole[0].read_bytes()
        # a process may have ended within a line
        return whole[0], data[: data.rfind(b"\n") + 1].splitlines()

    def replace(self, batch: Path, lines: list[bytes]) -> None:
        """Keeps only these lines of a batch. Raises OSError if it cannot be written."""
        with self._lock:
            before = batch.stat().st_size
            if not lines:
                batch.unlink()
                self.size_bytes -= before
                return
            part = batch.with_suffix(".part")
            data = b"".join(line + b"\n" for line in lines)
            part.write_bytes(data)
            part.replace(batch)
            self.size_bytes += len(data) - before

    def close(self) -> None:
        """Lets the next process have what is left."""
        with self._lock:
            self._seal()
            if self._owned is None:
                return
            if not [*self._folder.glob("*.*")]:
                (self._folder / _LOCK).unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    self._folder.rmdir()
            os.close(self._owned)
            self._owned = None

    def _write(self, line: bytes) -> None:
        if self._file is not None and self._size + len(line) > MAX_BATCH_BYTES:
            self._seal()
        if self._file is None:
            # names are in the order of time, also across processes
            self._last = max(time.time_ns(), self._last + 1)
            self._path, self._size = self._folder / f"{self._last:020d}{_OPEN}", 0
            flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_EXCL | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
        written = os.write(self._file, line)
        self._size += written
        self.size_bytes += written
        if written < len(line):
            raise OSError("the disk is full")

    def _seal(self) -> None:
        """Ends the batch that is written to."""
        if self._file is None or self._path is None:
            return
        os.close(self._file)
        self._file = None
        self._path.rename(self._path.with_suffix(_WHOLE))

    def _adopt(self, folder: Path) -> None:
        for file in sorted(folder.glob("*.*")):
            if file.suffix in (_OPEN, _WHOLE):
                file.rename(self._folder / f"{file.stem}{_WHOLE}")
            else:
                file.unlink()
        (folder / _LOCK).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()


def _locked(folder: Path) -> int | None:
    """The lock of a folder; None: another process has it."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # not a folder, or it is just being removed
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # the lock of a folder that was removed after it was opened is nobody's
        if os.path.samestat(os.fstat(descriptor), (folder / _LOCK).stat()):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None
