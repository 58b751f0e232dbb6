"""A gateway process in front of the real Triton with the echo models."""

from collections.abc import Iterator

import httpx2
import pytest
from openai import OpenAI

from tests.support.echo import EchoTriton
from tests.support.gateway import Gateway, run_gateway


@pytest.fixture(scope="session")
def gateway(echo_triton: EchoTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway for all tests that leave it as it is."""
    with run_gateway(echo_triton.grpc_address, tmp_path_factory.mktemp("gateway") / "log") as it:
        yield it


@pytest.fixture
def client(gateway: Gateway) -> Iterator[OpenAI]:
    """The official SDK."""
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as sdk:
        yield sdk


@pytest.fixture
def raw(gateway: Gateway) -> Iterator[httpx2.Client]:
    """A plain HTTP client, for what the SDK hides or would never send."""
    with httpx2.Client(base_url=gateway.url, timeout=30) as http:
        yield http
