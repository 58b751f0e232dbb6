"""One real Triton for all models that need no engine, and one with a real vLLM engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.python_backends import models
from tests.support.client import Client
from tests.support.repository import echo_repository
from tests.support.triton import Server, serve


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("triton")


@pytest.fixture(scope="session")
def small(scratch: Path) -> models.Small:
    """The weights of the small models, and what they should answer."""
    return models.write_small(scratch / "weights")


@pytest.fixture(scope="session")
def server(scratch: Path, small: models.Small) -> Iterator[Server]:
    """Echo, prompt, embedding and diffusion models on one server."""
    root = scratch / "small"
    names = [*echo_repository(root), *models.small_repository(root, small)]
    with serve(root, names, scratch / "small-run", ready_s=120) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.grpc_address) as connected:
        yield connected
