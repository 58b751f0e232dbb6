"""The tests' folders are the source's, and what two folders share is in tests/support."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT

PACKAGES = ("toolkit", "frontend", "python_backends")
OTHERS = {
    "frontend/contract": "the gateway's process as its clients see it, every module at once",
    "toolkit/verifier/corpus": "repositories that verify and the real server judge",
}
"""Folders of tests without one of their name in the source, and why."""

ENTRIES = {"__init__", "__main__", "model", "env"}
"""Names of modules that Python, Triton or Alembic look for."""

TABLES = {
    "toolkit/cli": "toolkit/cli/commands.py",
    "frontend/commands": "frontend/__main__.py",
    "toolkit/quantize": "toolkit/quantize/language.py",
}
"""Folders with modules that are named by a text in this file, and imported or run when needed."""

MARKS = ('\nif __name__ == "__main__"', "\nKIND = ")
"""Lines of scripts and of kinds, which are found by being in their folder."""

SHARED = {Path("tests", name) for name in ("support", "golden", "clients")}


def folders() -> Iterator[Path]:
    for package in PACKAGES:
        for path in (ROOT / "tests" / package).rglob("*.py"):
            yield path.parent.relative_to(ROOT / "tests")


@pytest.mark.parametrize("folder", sorted({path.as_posix() for path in folders()}))
def test_a_folder_of_tests_has_its_source(folder: str) -> None:
    assert (ROOT / folder).is_dir() != (folder in OTHERS)


def test_helpers_of_two_folders_lie_in_one_place() -> None:
    borrowed = []
    for path in (ROOT / "tests").rglob("*.py"):
        own = path.parent.relative_to(ROOT)
        for module in _imported(path):
            lent = Path(*module.split(".")).parent
            near = lent.is_relative_to(own) or own.is_relative_to(lent)
            if module.startswith("tests.") and not near and lent not in SHARED:
                borrowed.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not borrowed


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_every_module_is_used() -> None:
    used: set[str] = set()
    for path in _sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                used |= {f"{node.module}.{alias.name}" for alias in node.names}
                used.add(node.module or "")
            elif isinstance(node, ast.Import):
                used |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                # conversions, workers and classes of vLLM are named by texts, scripts by their file
                used |= {node.value, node.value.rpartition(".")[0]}
    for folder, table in TABLES.items():
        for node in ast.walk(ast.parse((ROOT / table).read_text())):
            if isinstance(node, ast.Constant):
                used.add(f"{folder}/{node.value}".replace("/", ".").replace("-", "_"))
    unused = [
        path.relative_to(ROOT).as_posix()
        for path in _sources()
        if path.stem not in ENTRIES
        and not used & {".".join(path.relative_to(ROOT).with_suffix("").parts), path.name}
        and not any(
            mark in path.read_text() for mark in ('\nif __name__ == "__main__"', "\nKIND = ")
        )
    ]
    assert not unused


def _sources() -> Iterator[Path]:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if "versions" not in path.parts:
                yield path
