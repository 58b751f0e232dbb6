"""A toolkit home of its own for quick tests, and the default models built once for slow ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.web import Web, web_server
from toolkit.building import Built, build
from toolkit.spec import load
from toolkit.targets import find_target


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty toolkit home."""
    folder = tmp_path / "home"
    monkeypatch.setenv("TRITON_TOOLKIT_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def default_repository(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The default models with its real weights, from the user's own cache."""
    output = tmp_path_factory.mktemp("default") / "model_repository"
    return build(load(ROOT / "models.yaml"), find_target("embedded"), output)


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server that only this test uses."""
    with web_server() as running:
        yield running
