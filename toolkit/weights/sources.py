"""Where fetched sources are kept: `<home>/sources/<key>/`, their content beside its digest.

A source is complete or absent; a partial one is in `<home>/downloads/<key>/` and is
continued by the next request.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.atomic import ensure, lock_of, locked
from toolkit.download import Remote, download_all, total_bytes
from toolkit.home import home
from toolkit.progress import Progress
from toolkit.weights.digest import digest, text_digest

ABOUT = "digest"
"""Beside the content: its name, its digest, and the source as it was asked for, a line each."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file or folder that holds a model's weights as their author published them.

    `conversion` names what made the files from the source of that digest, if anything did.
    """

    path: Path
    digest: str
    conversion: str = ""


def place_of(identity: str) -> Path:
    """Where the source of that identity is, or would be."""
    # 128 bits: no two sources meet in them, and names stay short
    return home() / "sources" / text_digest(identity)[:32]


def downloads_of(identity: str) -> Path:
    """Where its files are while not all of them are here."""
    return home() / "downloads" / text_digest(identity)[:32]


def recorded(place: Path) -> Fetched:
    """The record of a complete source."""
    name, recorded_digest = (place / ABOUT).read_text().split("\n")[:2]
    return Fetched(place / name, recorded_digest)


def record(place: Path, content: Path, source: str) -> None:
    """Puts the digest beside what has just been fetched."""
    name = content.relative_to(place)
    (place / ABOUT).write_text(f"{name}\n{digest(content)}\n{source}\n")


def keep(identity: str, source: str, fill: Callable[[Path], Path]) -> Fetched:
    """Returns the source, after letting `fill` make its content in an empty folder if need be."""

    def make(place: Path) -> None:
        record(place, fill(place), source)

    return recorded(ensure(place_of(identity), make))


def keep_files(
    identity: str, source: str, files: Mapping[str, Remote], progress: Progress
) -> Fetched:
    """Downloads `files` below `content/`, going on where an earlier try was stopped."""

    def fill(place: Path) -> Path:
        # outside the scratch folder of `ensure`, which is removed when the download fails
        parts = downloads_of(identity)
        parts.mkdir(parents=True, exist_ok=True)
        with (
            # the lock that `toolkit cache prune` asks for
            locked(lock_of(parts)),
            progress.step(
                f"download {source}", total=total_bytes(files.values()), unit="bytes"
            ) as step,
        ):
            download_all({parts / name: remote for name, remote in files.items()}, step)
            content = place / "content"
            content.mkdir()
            for name in files:
                (content / name).parent.mkdir(parents=True, exist_ok=True)
                # moved, not copied: both are below home, and weights may fill half a disk
                (parts / name).replace(content / name)
            shutil.rmtree(parts)
        return content

    return keep(identity, source, fill)
