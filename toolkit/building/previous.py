"""Checks whether the existing output of a build may be replaced, and keeps parts of it."""

import json
from pathlib import Path

from toolkit.building.tree import MANIFEST
from toolkit.errors import RepositoryError

LINKS = ".environments"


def refuse_foreign(output: Path) -> None:
    """Raises RepositoryError if `output` contains files that a build did not write."""
    if not output.exists():
        return
    if not output.is_dir():
        raise RepositoryError(f"{output} is a file", hint="choose another --output")
    known = {MANIFEST, LINKS, *_folders(output / MANIFEST)}
    if foreign := sorted(path.name for path in output.iterdir() if path.name not in known):
        raise RepositoryError(
            f"{output} contains {', '.join(foreign[:5])}, which a build did not write",
            hint="move it away, or choose another --output: a build replaces the whole folder",
        )


def keep_links(output: Path, fresh: Path) -> None:
    """Copies the links to Python environments, which `toolkit serve` made."""
    if (output / LINKS).is_dir():
        (fresh / LINKS).mkdir()
        for link in (output / LINKS).iterdir():
            # a folder that somebody put there is not taken along
            if link.is_symlink():
                (fresh / LINKS / link.name).symlink_to(link.readlink())


def _folders(manifest: Path) -> set[str]:
    try:
        models = json.loads(manifest.read_text())["models"].values()
        return {folder for model in models for folder in model["folders"]}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return set()
