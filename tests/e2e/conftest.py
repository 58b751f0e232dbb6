"""The default models, built and served once for all end-to-end tests."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from tests.support.processes import ROOT, Service, served

CHAT, EMBEDDING, IMAGE = "smollm2-135m-instruct", "all-minilm-l6-v2", "emoji"


@pytest.fixture(scope="package")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default models as `toolkit build-repo` writes it; weights come from the cache."""
    output = tmp_path_factory.mktemp("e2e") / "model_repository"
    command = [
        sys.executable,
        "-m",
        "toolkit",
        "build-repo",
        "models.yaml",
        "--output",
        str(output),
    ]
    subprocess.run(command, check=True, cwd=ROOT)
    return output


@pytest.fixture(scope="package")
def service(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`toolkit serve` on the default models."""
    with served(repository, tmp_path_factory.mktemp("serve") / "serve.log") as running:
        yield running


@pytest.fixture(scope="package")
def client(service: Service) -> Iterator[OpenAI]:
    """The official SDK, unchanged but for its base URL."""
    with OpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0) as sdk:
        yield sdk
