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
