"""Writes small repositories for the tests of single parts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.toolkit.verifier.corpus.dsl import Files
from tests.toolkit.verifier.corpus.library import used_by
from tests.toolkit.verifier.corpus.server import write

Repository = Callable[[Files], Path]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Writes files, `@` being `model`, and what they need of the library."""

    def make(files: Files) -> Path:
        named = {p.replace("@", "model"): t.replace("@", "model") for p, t in files.items()}
        write(tmp_path / "repository", {**used_by(named), **named})
        return tmp_path / "repository"

    return make
