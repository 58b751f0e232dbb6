"""A folder made once, whoever asks: complete or absent, also after a kill or with several builders.

A folder is made beside its place under a lock and renamed, so its presence alone says that it is
complete. The kernel drops the lock of a process that dies; the next one clears what it left.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def ensure(place: Path, make: Callable[[Path], None]) -> Path:
    """Returns `place`, after letting `make` fill an empty folder for it if it is not there yet.

    What `make` raises passes through, and nothing is kept. The folder's time is that of its last
    use, which `toolkit cache` goes by.
    """
    if place.exists():
        touch(place)
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with locked(place.parent / f".{place.name}.lock"):
        if not place.exists():
            _make(place, make)
    return place


def touch(place: Path) -> None:
    """Says that `place` is in use now; a cache that cannot be written to stays usable."""
    with suppress(OSError):
        os.utime(place)


def _make(place: Path, make: Callable[[Path], None]) -> None:
    prefix = f".{place.name}.making-"
    for left_over in place.parent.glob(f"{prefix}*"):
        shutil.rmtree(left_over)
    scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=place.parent))
    try:
        inner = scratch / "made"
        inner.mkdir()
        make(inner)
        inner.rename(place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock; the file goes away with the last holder, so the folder stays tidy."""
    while True:
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_current(path, file.fileno()):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_current(path: Path, descriptor: int) -> bool:
    """False when the file that was locked has been removed by its former holder meanwhile."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
