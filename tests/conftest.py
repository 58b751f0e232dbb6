"""What tests of several packages share: the echo models on the real server."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.python_backends.repository import echo_repository as write_echo_repository
from toolkit.runtime.environments import link_environments
from toolkit.runtime.triton import ensure_triton
from toolkit.serve.catalogue import public_models
from toolkit.serve.triton import TritonOptions, TritonServer

# timings never decide a test, and every run draws the same examples; `make fuzz` draws new ones
_CALM = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("same", derandomize=True, **_CALM)
settings.register_profile("fuzz", max_examples=500, print_blob=True, **_CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "slow_engine: starts a real vLLM engine, about a minute and 3 GB"
    )


class EchoTriton:
    """The real Triton with the echo models; tests may kill it and start it again in place."""

    def __init__(self, repository: Path, log: Path) -> None:
        self._models = [model.name for model in public_models(repository)]
        self._server = TritonServer(ensure_triton(), TritonOptions(repository, log))
        self.grpc_address = self._server.address
        self.log = log

    def start(self) -> None:
        """Starts the server and loads every model; returns when they answer."""
        self._server.start()
        self._server.load(self._models)

    def kill(self) -> None:
        """Ends it as `kill -9` does."""
        self._server.kill()

    def stop(self) -> None:
        """Ends it in order, for good."""
        self._server.end()


@pytest.fixture(scope="session")
def echo_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of the three echo models."""
    root = tmp_path_factory.mktemp("echo") / "model_repository"
    root.mkdir()
    write_echo_repository(root)
    link_environments(root)
    return root


@pytest.fixture(scope="session")
def echo_triton(
    echo_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EchoTriton]:
    """One server for the whole run. A test that kills it must start it again."""
    triton = EchoTriton(echo_repository, tmp_path_factory.mktemp("triton") / "triton.log")
    triton.start()
    yield triton
    triton.stop()
