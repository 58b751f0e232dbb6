"""Removes unused entries, always completely, and never while one is being created.

An entry is renamed before it is removed, so that no process finds a part of it. An entry whose lock
is held is kept.
"""

import re
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from toolkit.atomic import lock_of, locked
from toolkit.caching.entries import KINDS, Entry
from toolkit.errors import UsageError
from toolkit.home import home

_LEFTOVER = re.compile(r"\.(.+)\.(?:removing|making-\w+)")
_AGE = re.compile(r"(\d+)\s*([smhdw])", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class Pruned:
    """The entries that were (or would be) removed, and those that were kept, with the reason."""

    removed: tuple[Entry, ...]
    kept: tuple[tuple[Entry, str], ...]

    @property
    def size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.removed)


def parse_age(text: str) -> int:
    """Parses `30d`, `12h` or `2w` to seconds. Raises UsageError for any other text."""
    if match := _AGE.fullmatch(text.strip()):
        return int(match[1]) * _SECONDS[match[2].lower()]
    raise UsageError(f"'{text}' is not a valid age", hint="write it as 30d, 12h or 2w")


def prune(
    entries: Sequence[Entry], *, older_than_s: int = 0, kinds: Sequence[str] = (), dry_run: bool
) -> Pruned:
    """Removes entries of `kinds` (all, if empty) that are unused and were not used recently."""
    removed, kept = [], []
    now = time.time()
    if not dry_run:
        _remove_leftovers()
    for entry in entries:
        if kinds and entry.kind not in kinds:
            continue
        if entry.uses:
            kept.append((entry, f"in use by {', '.join(entry.uses)}"))
        elif now - entry.last_use < older_than_s:
            kept.append((entry, "used recently"))
        elif not dry_run and not _remove(entry.path):
            kept.append((entry, "it is being created"))
        else:
            removed.append(entry)
    return Pruned(tuple(removed), tuple(kept))


def _remove(path: Path) -> bool:
    """False when the lock of its maker is held."""
    try:
        # the lock that `toolkit.atomic.ensure` holds while it makes the entry
        with locked(lock_of(path), wait=False):
            # the dot hides it from the list of entries; a rename is one step and rmtree is not
            aside = path.with_name(f".{path.name}.removing")
            _delete(aside)
            path.replace(aside)
            _delete(aside)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        pass  # another process has removed it
    return True


def _remove_leftovers() -> None:
    """Removes files of a killed process: their lock is free, and no list shows them."""
    for kind in KINDS:
        for path in (home() / kind).glob(".*"):
            if match := _LEFTOVER.fullmatch(path.name):
                with (
                    suppress(BlockingIOError),
                    locked(path.with_name(f".{match[1]}.lock"), wait=False),
                ):
                    _delete(path)


def _delete(path: Path) -> None:
    # rmtree refuses a link to a folder; what it leads to is not the cache's
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
