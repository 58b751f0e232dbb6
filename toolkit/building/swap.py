"""Puts a new folder where an old one stands, in one step that a kill cannot cut in two.

Linux can exchange two names atomically (renameat2); where a file system cannot, the old folder is
renamed away first, and the next build puts it back if it finds it so.
"""

import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.errors import RepositoryError
from toolkit.home import home
from toolkit.weights.digest import text_digest

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def replacing(place: Path) -> Iterator[Path]:
    """Yields an empty folder beside `place` that takes its place when the block ends well.

    When the block raises, or the process dies, `place` stays what it was. One builder at a time.
    """
    place = place.absolute()
    place.parent.mkdir(parents=True, exist_ok=True)
    with _locked(place):
        _recover(place)
        scratch = Path(tempfile.mkdtemp(prefix=_prefix(place, "building"), dir=place.parent))
        scratch.chmod(0o755)
        try:
            yield scratch
            _exchange(scratch, place)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _exchange(scratch: Path, place: Path) -> None:
    """Afterwards `place` is new, and `scratch` is what was there, or nothing."""
    if not place.exists():
        scratch.rename(place)
    elif not _exchange_names(scratch, place):
        aside = place.with_name(f"{_prefix(place, 'previous')}{os.getpid()}")
        place.rename(aside)
        scratch.rename(place)
        shutil.rmtree(aside)


def _exchange_names(one: Path, other: Path) -> bool:
    """False where the kernel or the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in {errno.ENOSYS, errno.EINVAL}:
        return False
    raise RepositoryError(f"cannot put the new {other.name} in place: {os.strerror(code)}")


def _recover(place: Path) -> None:
    """Clears what a killed build left, and puts back what it had only just taken away."""
    for aside in place.parent.glob(f"{_prefix(place, 'previous')}*"):
        if place.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(place)
    for left_over in place.parent.glob(f"{_prefix(place, 'building')}*"):
        shutil.rmtree(left_over)


def _prefix(place: Path, state: str) -> str:
    return f".{place.name}.{state}-"


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """The lock stands in the toolkit's home: beside `place` it would be one more file in git."""
    locks = home() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / f"{text_digest(str(place))[:32]}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RepositoryError(
                f"another build is writing {place}", hint="wait for it to end"
            ) from error
        yield
