"""Creates and replaces folders in one step, so that each is complete or absent, also after a kill.

A folder is made beside its place under a lock, then renamed, so its presence means that it is
complete. The kernel releases the lock of a process that dies; the next holder removes what that
process left behind. It does not depend on what a folder contains.
"""

import ctypes
import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from toolkit.errors import ToolkitError

COMPLETE = "complete"
"""The file that marks a folder as complete where it cannot be renamed into place."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a disk, or of a user's share of it, that has no room left."""
_PROBED_BYTES = 1 << 20
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def ensure(place: Path, make: Callable[[Path], None]) -> Path:
    """Returns `place`, after letting `make` fill an empty folder for it if it does not exist.

    When `make` raises, nothing is kept. The folder's modification time is the time of its last use.
    """
    return _ensure(place, place.exists, lambda: _make_and_rename(place, make))


def make_new(place: Path, make: Callable[[Path], None], failure: type[ToolkitError]) -> None:
    """`ensure` for a folder that a user names: raises `failure` when it exists or cannot be
    written."""
    # before the work, which may take hours; `ensure` would return a folder that exists
    if place.exists():
        raise failure(f"{place} already exists", hint="choose another --output, or move it")
    try:
        ensure(place, make)
    except OSError as error:
        raise failure(
            f"{place} cannot be written: {error.strerror or error}",
            hint=f"{'free space there; ' if error.errno in FULL else ''}nothing was kept",
        ) from error


def check_space(folder: Path) -> None:
    """Raises OSError, which names the folder, if files cannot be written there. Leaves nothing."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            os.posix_fallocate(probe.fileno(), 0, _PROBED_BYTES)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def ensure_in_place(place: Path, make: Callable[[Path], None]) -> Path:
    """Like `ensure`, for a folder that contains its own path and cannot be renamed, such as a venv.

    The file `complete` in it says that it is.
    """
    marker = place / COMPLETE
    return _ensure(place, marker.exists, lambda: _make_and_mark(place, make))


def _ensure(place: Path, exists: Callable[[], bool], make: Callable[[], None]) -> Path:
    if not exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        # asked again under the lock: another process may have made it during the wait
        with locked(lock_of(place)):
            if not exists():
                make()
    touch(place)
    return place


@contextmanager
def replacing(place: Path, lock: Path) -> Iterator[Path]:
    """Yields an empty folder beside `place` that takes its place when the block ends normally.

    When the block raises, or the process is killed, `place` stays as it was. `lock` is a file
    elsewhere, because the folder of `place` may be under version control. Raises BlockingIOError
    while another process replaces `place`, OSError when the file system refuses.
    """
    place = place.absolute()
    place.parent.mkdir(parents=True, exist_ok=True)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with locked(lock, wait=False):
        _recover(place)
        scratch = _beside(place, _prefix(place, "building"))
        # mkdtemp makes it 0700, and the result may be read by another user, as Triton's
        scratch.chmod(0o755)
        try:
            with _naming(place, scratch):
                yield scratch
            # `scratch` goes below in any case: it holds the folder that was replaced, or a failed
            # result
            _exchange(scratch, place)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def touch(place: Path) -> None:
    """Records that `place` is used now; a read-only cache stays usable."""
    with suppress(OSError):
        os.utime(place)


def lock_of(place: Path) -> Path:
    """The path of the lock file that is held while `place` is made."""
    return place.parent / f".{place.name}.lock"


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds the lock; its file is removed with the last holder, so the folder stays tidy.

    Without `wait`, raises BlockingIOError when another process holds it.
    """
    while True:
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # its holder removed the file between open and flock: a lock on it keeps nobody out
            if not is_current(path, file.fileno()):
                continue
            try:
                yield
            finally:
                # while the lock is held: a moment later another process could hold this very file
                path.unlink(missing_ok=True)
            return


def is_current(path: Path, descriptor: int) -> bool:
    """Whether the locked file still exists; its former holder may have removed it."""
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _make_and_rename(place: Path, make: Callable[[Path], None]) -> None:
    prefix = _prefix(place, "making")
    # the lock is held, so the process that made these is dead
    for left_over in place.parent.glob(f"{glob.escape(prefix)}*"):
        shutil.rmtree(left_over)
    scratch = _beside(place, prefix)
    try:
        # a folder of its own, because mkdtemp's mode 0700 would stay with the renamed one
        inner = scratch / "made"
        inner.mkdir()
        with _naming(place, scratch):
            make(inner)
        inner.rename(place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _beside(place: Path, prefix: str) -> Path:
    """A new folder beside `place`. Raises OSError that names `place`, which the caller knows."""
    try:
        return Path(tempfile.mkdtemp(prefix=prefix, dir=place.parent))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(place)) from error


@contextmanager
def _naming(place: Path, scratch: Path) -> Iterator[None]:
    """Errors about files in `scratch`, as on a full disk, name `place`: nobody chose the scratch
    folder, and it is removed before the message is read."""
    try:
        yield
    except OSError as error:
        # a copy has two paths, and the second is the destination
        path = str(error.filename2 or error.filename or "")
        inside = path.startswith(f"{scratch}{os.sep}")
        # a write has no path, and fills the disk of what is being made
        if not inside and (path or error.errno not in FULL):
            raise
        raise OSError(error.errno, error.strerror, str(place)) from error


def _make_and_mark(place: Path, make: Callable[[Path], None]) -> None:
    shutil.rmtree(place, ignore_errors=True)
    try:
        place.mkdir()
        make(place)
        (place / COMPLETE).touch()
    # Ctrl-C, too; only a kill leaves an unmarked folder, which the next call removes above
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def _exchange(scratch: Path, place: Path) -> None:
    """Afterwards `place` is new, and `scratch` is what was there, or nothing."""
    if not place.exists():
        scratch.rename(place)
    elif not _exchange_names(scratch, place):
        # two steps; a kill between them leaves no `place`, which `_recover` puts right
        aside = place.with_name(f"{_prefix(place, 'previous')}{os.getpid()}")
        place.rename(aside)
        scratch.rename(place)
        shutil.rmtree(aside)


def _exchange_names(one: Path, other: Path) -> bool:
    """Linux exchanges two names atomically; False where kernel or file system cannot.

    https://man7.org/linux/man-pages/man2/rename.2.html
    """
    # Python has no call for it: os.rename and os.replace refuse a folder that is not empty
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    # old kernels do not have the call (before 3.15), some file systems not the flag
    if code in {errno.ENOSYS, errno.EINVAL}:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _recover(place: Path) -> None:
    """Removes what a killed process left, and puts back what it had just renamed away."""
    # a kill between the two renames of `_exchange` left the user's folder under this name
    for aside in place.parent.glob(f"{glob.escape(_prefix(place, 'previous'))}*"):
        if place.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(place)
    for left_over in place.parent.glob(f"{glob.escape(_prefix(place, 'building'))}*"):
        shutil.rmtree(left_over)


def _prefix(place: Path, state: str) -> str:
    return f".{place.name}.{state}-"
