"""Copies a user's own model, one folder per version.

It copies `versions/<number>/model.py` and the files next to it, and does not run them. `toolkit
verify` checks whether it is a model of the Python backend.
"""

import re
import shutil
from pathlib import Path

from toolkit.errors import ConvertError
from toolkit.kinds.python import UserFacts
from toolkit.progress import Progress

# config.pbtxt is generated from models.yaml; two would disagree
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "config.pbtxt")


def copy_user_model(source: Path, place: Path, progress: Progress) -> UserFacts:
    """Copies a `model.py`, a folder with one, or a folder of numbered versions.

    Raises ConvertError when there is none, or a link leads out of the folder.
    """
    with progress.step("copy the model's files"):
        versions = find_versions(source)
        for number, version in versions.items():
            target = place / "versions" / str(number)
            if version.is_file():
                target.mkdir(parents=True)
                shutil.copyfile(version, target / "model.py")
            else:
                shutil.copytree(version, target, ignore=_LEFT_OUT)
    return UserFacts(versions=tuple(sorted(versions)))


def find_versions(source: Path) -> dict[int, Path]:
    """Version → its file or folder. Raises ConvertError as `copy_user_model` does."""
    versions = _versions(source)
    for version in versions.values():
        if version.is_dir():
            _refuse_links(version)
    return versions


def _versions(source: Path) -> dict[int, Path]:
    if source.is_file():
        if source.suffix != ".py":
            raise ConvertError(
                f"{source.name} is not a Python file",
                hint="`source` must be a model.py or a folder with one",
            )
        return {1: source}
    if (source / "model.py").is_file():
        return {1: source}
    versions = {
        int(folder.name): folder
        for folder in source.iterdir()
        if folder.is_dir() and re.fullmatch(r"[1-9][0-9]{0,17}", folder.name)
    }
    missing = [folder.name for folder in versions.values() if not (folder / "model.py").is_file()]
    if not versions or missing:
        where = f"version {missing[0]} of {source}" if missing else str(source)
        raise ConvertError(
            f"{where} has no model.py",
            hint="put a model.py there, or in folders 1, 2, … for several versions",
        )
    return versions


def _refuse_links(folder: Path) -> None:
    """A link out of the folder would take any file of this machine into the repository."""
    root = folder.resolve()
    for path in folder.rglob("*"):
        # links inside are allowed: copytree copies what they lead to
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise ConvertError(
                f"{path} is a link to a path outside the folder", hint="copy the file there"
            )
