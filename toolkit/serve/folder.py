"""The private folder of one service: sockets and temporary files that only its owner can read.

The service holds a lock on it while it runs. So an unlocked folder belonged to a service that was
killed, and the next start removes it with the shared memory that it lists. systemd-tmpfiles also
keeps locked folders.
"""

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from toolkit.atomic import check_space

SHARED_MEMORY_LIST = "shared_memory"
"""File in a folder: names in /dev/shm, one a line, that its processes had mapped."""
_PREFIX = "tritontk-"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
_YOUNG_S = 10.0  # before it is locked, a new folder looks abandoned
_SHORT = "/tmp"  # noqa: S108 - mkdtemp creates a name in it that only its owner can open
_MOST_BYTES = 48
"""Of the temporary folder's path: engines add up to 59 for a socket, whose path has at most 107."""


@dataclass(frozen=True, slots=True)
class PrivateFolder:
    """A folder of mode 0700 that this process holds."""

    path: Path
    _lock: int

    @classmethod
    def claim(cls) -> "PrivateFolder":
        """Creates one in the temporary folder, or in /tmp if that path is too long for sockets."""
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_parents()[0]))
        # CLOEXEC: a child that inherits the lock would hold it after this process was killed
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return cls(path, lock)

    @property
    def shm_prefix(self) -> str:
        """The prefix of the names of its service's shared memory."""
        return _shm_prefix(self.path)

    def remove(self) -> None:
        """Removes it with all that is in it. May be called again."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            os.close(self._lock)


def make_private(folder: Path) -> Path:
    """Creates `folder` if it is missing, and gives only its owner access."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(OSError):  # a volume of another owner stays as it is
        folder.chmod(0o700)
    return folder


def check_disk(logs: Path) -> str | None:
    """A warning if a service would lose its logs; models are served without them, too."""
    try:
        check_space(make_private(logs))
    except OSError as error:
        what = f"{logs} cannot be written: {error.strerror or error}"
        return f"warning: {what}; free space there, or this service has no logs"
    return None


def sweep() -> list[Path]:
    """Removes the folders and the shared memory of this user's killed services; returns which."""
    return [path for parent in _parents() for path in parent.glob(f"{_PREFIX}*") if _sweep(path)]


def _parents() -> list[Path]:
    """Where services have their folders; the first is for new ones."""
    usual = tempfile.gettempdir()
    return [Path(_SHORT)] if len(os.fsencode(usual)) > _MOST_BYTES else [Path(usual)]


def _sweep(path: Path) -> bool:
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        status = os.fstat(lock)
        # O_NOFOLLOW and the owner: /tmp is shared, and anybody can put a link or folder there
        if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _YOUNG_S:
            return False
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _sweep_shared_memory(path)
        shutil.rmtree(path, ignore_errors=True)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _sweep_shared_memory(folder: Path) -> None:
    names = {path.name for path in _SHARED_MEMORY.glob(f"{_shm_prefix(folder)}*")}
    with suppress(OSError, UnicodeDecodeError):
        names |= set((folder / SHARED_MEMORY_LIST).read_text().splitlines())
    for name in names:
        # the last part only: the list is a file, and must not lead out of /dev/shm
        path = _SHARED_MEMORY / Path(name).name
        with suppress(OSError):
            if path.lstat().st_uid == os.geteuid():
                path.unlink()


def _shm_prefix(folder: Path) -> str:
    return f"tritontk_{folder.name.removeprefix(_PREFIX)}_"
