"""A user's own model → the same files, one folder per version, checked for what Triton needs.

`versions/<number>/model.py` and whatever stands beside it. Needs no library and runs nothing of it.
"""

import ast
import shutil
from pathlib import Path

from toolkit.errors import ConvertError
from toolkit.facts import UserFacts
from toolkit.progress import Progress

_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*", "config.pbtxt")


def copy_user_model(source: Path, place: Path, progress: Progress) -> UserFacts:
    """Copies a `model.py`, a folder with one, or a folder of numbered versions.

    Raises ConvertError when there is none, or it is no model of the Python backend.
    """
    with progress.step("copy the model's files"):
        versions = _versions(source)
        for number, found in versions.items():
            target = place / "versions" / str(number)
            if found.is_file():
                target.mkdir(parents=True)
                shutil.copyfile(found, target / "model.py")
            else:
                _refuse_links(found)
                shutil.copytree(found, target, ignore=_LEFT_OUT)
            check_model(target / "model.py", found)
    return UserFacts(versions=tuple(sorted(versions)))


def _versions(source: Path) -> dict[int, Path]:
    """Version → its file or folder."""
    if source.is_file():
        if source.suffix != ".py":
            raise ConvertError(
                f"{source.name} is no Python file",
                hint="`source` must be a model.py or a folder with one",
            )
        return {1: source}
    if (source / "model.py").is_file():
        return {1: source}
    found = {
        int(folder.name): folder
        for folder in source.iterdir()
        if folder.is_dir() and folder.name.isdigit() and int(folder.name) > 0
    }
    missing = [folder.name for folder in found.values() if not (folder / "model.py").is_file()]
    if not found or missing:
        where = f"version {missing[0]} of {source}" if missing else str(source)
        raise ConvertError(
            f"{where} has no model.py",
            hint="put a model.py there, or into folders 1, 2, … for several versions",
        )
    return found


def _refuse_links(folder: Path) -> None:
    """A link out of the folder would take any file of this machine into the repository."""
    root = folder.resolve()
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise ConvertError(
                f"{path} is a link to somewhere else", hint="put the file itself there"
            )


def check_model(file: Path, shown: Path) -> None:
    """Raises ConvertError when a file does not parse or has no class `TritonPythonModel`."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", None)
        where = f"{shown}/model.py" if shown.is_dir() else str(shown)
        raise ConvertError(f"{where}:{line or 1}: {error}", hint="mend the file") from error
    names = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if "TritonPythonModel" not in {*classes, *names}:
        raise ConvertError(
            f"{shown} has no class TritonPythonModel",
            hint="the Python backend makes an object of that class and calls its `execute`",
        )
    own = classes.get("TritonPythonModel")
    methods = (
        {node.name for node in own.body if isinstance(node, ast.FunctionDef)} if own else set()
    )
    if own and not own.bases and "execute" not in methods:
        raise ConvertError(
            f"TritonPythonModel of {shown} has no method `execute`",
            hint="write `def execute(self, requests):` that returns one response per request",
        )
