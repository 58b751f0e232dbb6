"""A gateway process in front of the real Triton with the echo models."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam
from tritonclient.grpc import service_pb2, service_pb2_grpc

from frontend.upstreams.triton.tensors import add_texts, output, unpack_bytes
from tests.conftest import EchoTriton
from tests.processes import ROOT, free_port, status_of, wait_for


@dataclass
class Gateway:
    """A running `python -m frontend`."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def run_gateway(triton: str, log: Path, *flags: str, wait_ready: bool = True) -> Iterator[Gateway]:
    """Runs a gateway until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "frontend", "--port", str(port), "--triton", triton]
    with log.open("wb") as sink:
        process = subprocess.Popen([*command, *flags], stdout=sink, stderr=sink, cwd=ROOT)
    gateway = Gateway(process, port, log)
    route = "readyz" if wait_ready else "healthz"
    try:
        wait_for(
            lambda: status_of(f"{gateway.url}/{route}") == 200 or process.poll() is not None,
            30,
            "an answer of the gateway",
        )
        assert process.poll() is None, log.read_text()
        yield gateway
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


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


def script(**fields: Any) -> list[ChatCompletionMessageParam]:
    """Messages that tell the echo engine what to do."""
    return [{"role": "user", "content": json.dumps(fields)}]


def echo_requests(triton: EchoTriton, engine_id: str = "") -> list[dict[str, Any]]:
    """What the echo engine did for one request, or for all it remembers, oldest first."""
    found: list[dict[str, Any]] = echo_stats(triton, engine_id)["requests"]
    return found


def echo_stats(triton: EchoTriton, request_id: str) -> dict[str, Any]:
    """What the echo engine did for a request."""
    request = service_pb2.ModelInferRequest(model_name="echo.engine")
    add_texts(request, "stats", [request_id], [1])
    with grpc.insecure_channel(triton.grpc_address) as channel:
        api = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        # read to its end: a call that is dropped halfway is a cancellation to the server
        (answer,) = api.ModelStreamInfer(iter([request]), timeout=10)
    assert not answer.error_message, answer.error_message
    (text,) = unpack_bytes(output(answer.infer_response, "stats"))
    stats: dict[str, Any] = json.loads(text)
    return stats
