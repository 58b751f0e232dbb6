"""Keeps what a purge is about to remove in a file, until its proof is written.

A process may end after the transaction that removed records, but before their files are removed or
the proof is written: the next purge then completes it. While a purge runs, it holds the lock of its
file. All calls block.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction of a purge. `before` and `after` are its proof without and with it."""

    group_id: str
    record_id: int
    """Of one of its records: if that is gone, all are."""
    before: dict[str, Any] | None
    after: dict[str, Any]
    digests: list[str] = field(default_factory=list)
    """Artifacts that only its records have."""


class Trail:
    """The steps of one purge of one group."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{time.time_ns():020d}-{os.getpid()}.jsonl"
        self._file: int | None = None

    def write(self, step: Step) -> None:
        """Writes a step, and returns when it is on disk. Raises OSError if it cannot be written."""
        if self._file is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        line = orjson.dumps(asdict(step)) + b"\n"
        if os.write(self._file, line) < len(line):
            raise OSError(None, "the disk is full")
        os.fsync(self._file)

    def close(self, *, done: bool) -> None:
        """Ends the trail; the next purge completes what is missing."""
        if self._file is not None:
            if done:
                self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None


@contextlib.contextmanager
def left_in(folder: Path) -> Iterator[list[tuple[Path, Step | None]]]:
    """The last step of each purge that did not end, locked; None where there is no whole one."""
    found: list[tuple[Path, Step | None]] = []
    with contextlib.ExitStack() as stack:
        for path in sorted(folder.glob("*.jsonl")):
            file = stack.enter_context(path.open("rb"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            # a process may have ended within a line: then its transaction was not committed
            lines = file.read().split(b"\n")[:-1]
            found.append((path, Step(**orjson.loads(lines[-1])) if lines else None))
        yield found
