"""What tests of several packages share: the echo models on the real server."""

import functools
import inspect
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpcore2
import httpx2
import pytest
from hypothesis import HealthCheck, settings

from tests.stages import STAGES, Stages
from tests.support.echo import EchoTriton, running_echo
from tests.support.processes import PATIENCE_S
from tests.support.repository import echo_repository as write_echo_repository
from toolkit.runtime.environments import link_environments

if "PYTEST_XDIST_WORKER" in os.environ:  # two workers' threads on two cores wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# timings never decide a test, and every run draws the same examples; `make fuzz` draws new ones
_CALM = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("same", derandomize=True, **_CALM)
settings.register_profile("fuzz", max_examples=500, print_blob=True, **_CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_configure(config: pytest.Config) -> None:
    """Every test belongs to a stage, `pytest -m pure` runs one."""
    for stage in STAGES:
        config.addinivalue_line("markers", f"{stage}: see tests/stages.py, which sets it")
    config.pluginmanager.register(Stages(), "stages")


@pytest.fixture(scope="session", autouse=True)
def temporary_files() -> Iterator[None]:
    """Temporary files of killed processes are removed with those of this run, as are the databases
    of gateways whose flags do not name one.

    Its name is short, because it holds sockets, whose paths have at most 107 bytes.
    """
    with (
        tempfile.TemporaryDirectory(prefix="tt-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TMPDIR", folder)
        patch.setenv("TRITON_FRONTEND_DATA_DIRECTORY", f"{folder}/gateway")
        patch.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture(scope="session", autouse=True)
def calm_clients() -> Iterator[None]:
    """HTTP clients read the certificates of authorities once, which takes each of them 25 ms of
    CPU otherwise, also those that poll. Requests without a time limit of their own get more than
    the library's 5 s, in which a busy machine may not even have connected."""
    limits = inspect.signature(httpx2.Client).parameters["timeout"].default
    with pytest.MonkeyPatch.context() as patch:
        for phase in ("connect", "read", "write", "pool"):
            patch.setattr(limits, phase, PATIENCE_S)
        context = httpcore2.default_ssl_context
        patch.setattr(httpcore2, "default_ssl_context", functools.cache(context))
        yield


@pytest.fixture(autouse=True)
def same_umask() -> Iterator[None]:
    """A gateway that runs in a test's own process keeps its files private: only that test's."""
    mask = os.umask(0o022)
    os.umask(mask)
    yield
    os.umask(mask)


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
    """One server for the whole run. A test that kills it must start it again.

    It ends by force: after tests that kill gateways Triton may wait 30 s for requests that are
    gone, at the end of each worker. `tests/toolkit/serve/test_triton.py` ends one in order.
    """
    with running_echo(echo_repository, tmp_path_factory.mktemp("triton") / "triton.log") as triton:
        yield triton
        triton.kill()
