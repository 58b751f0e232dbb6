"""A process's journal of what it still has to write, until the database has it.

Lines of bytes in small files of one folder. A written line survives the death of its process at any
moment, though not that of the machine. A file belongs to the process that holds its lock, so the
files of dead processes are known immediately. It does not know what the lines mean.
"""

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

_FULL_BYTES = 1 << 20
_SUFFIX = ".journal"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _File:
    path: Path
    descriptor: int
    size: int = 0
    unsaved: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Journal:
    """The journal of the process `name`. Files are made when they are needed."""

    folder: Path
    name: str
    _files: list[_File] = field(default_factory=list)
    _made: int = 0
    _failed: bool = False

    def write(self, record: str, line: bytes) -> bool:
        """Keeps a line about a record; of several lines the last one counts. False: it cannot be
        kept, as on a full disk."""
        try:
            file = self._current()
            _write(file.descriptor, line + b"\n")
        except OSError as error:
            if not self._failed:
                _log.warning("the journal in %s cannot be written: %s", self.folder, error)
            self._failed = True
            return False
        self._failed = False
        file.size += len(line) + 1
        file.unsaved.add(record)
        return True

    def saved(self, records: Iterable[str]) -> None:
        """The database has these records. Files without any other are emptied or removed."""
        gone = set(records)
        for file in self._files:
            file.unsaved -= gone
        for file in self._files[:-1]:
            if not file.unsaved:
                self._remove(file)
        if self._files and not self._files[-1].unsaved and self._files[-1].size:
            os.ftruncate(self._files[-1].descriptor, 0)
            self._files[-1].size = 0

    def close(self) -> None:
        """Removes the files that have nothing unsaved, and lets others read the rest."""
        for file in [*self._files]:
            if not file.unsaved:
                self._remove(file)
            else:
                os.close(file.descriptor)
        self._files.clear()

    def _current(self) -> _File:
        if not self._files or self._files[-1].size > _FULL_BYTES:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self.folder / f"{self.name}-{self._made}{_SUFFIX}"
            flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
            # locked before it has its name, so that nobody takes it for one of a dead process
            scratch = path.with_suffix(".new")
            descriptor = os.open(scratch, flags, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            scratch.rename(path)
            self._made += 1
            self._files.append(_File(path, descriptor))
        return self._files[-1]

    def _remove(self, file: _File) -> None:
        self._files.remove(file)
        # before the lock ends with the descriptor
        file.path.unlink(missing_ok=True)
        os.close(file.descriptor)


def abandoned(folder: Path) -> Generator[list[bytes], None, None]:
    """The lines of each dead process, in order. Its files are removed after its turn if that went
    well.

    All files of a process together: the last line about a record may be in a later file.
    """
    paths = sorted(folder.glob(f"*{_SUFFIX}"), key=_place)
    for _, files in groupby(paths, key=lambda path: _place(path)[0]):
        mine, lines = [*files], list[bytes]()
        with contextlib.ExitStack() as stack:
            try:
                for path in mine:
                    file = stack.enter_context(path.open("rb"))
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    lines += file.read().splitlines()
            except OSError as error:
                # its process lives, or another one reads them just now
                if error.errno not in (errno.EWOULDBLOCK, errno.ENOENT):
                    _log.warning("%s cannot be read: %s", path, error)
                continue
            yield lines
            for path in mine:
                path.unlink(missing_ok=True)


def _place(path: Path) -> tuple[str, int]:
    """The process of a file, and which of its files it is."""
    process, _, number = path.stem.rpartition("-")
    return process, int(number) if number.isdecimal() else 0


async def next_abandoned(files: Generator[list[bytes], None, None]) -> list[bytes] | None:
    """The next lines of `abandoned`, read in a thread; None after the last ones.

    Also when this is cancelled, the thread has ended: what it used can be closed.
    """
    running = asyncio.ensure_future(asyncio.to_thread(next, files, None))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _write(descriptor: int, line: bytes) -> None:
    written = os.write(descriptor, line)
    if written < len(line):
        # what follows must not be joined to half a line
        with contextlib.suppress(OSError):
            os.write(descriptor, b"\n")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
