"""The echo models on the real server: what tests make them do, and what they report."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from openai.types.chat import ChatCompletionMessageParam
from tritonclient.grpc import service_pb2, service_pb2_grpc

from frontend.upstreams.triton.tensors import add_texts, output, unpack_bytes
from tests.support.processes import PATIENCE_S, free_port
from toolkit.runtime.triton import ensure_triton
from toolkit.serve.models import public_models
from toolkit.serve.triton import TritonServer
from toolkit.serve.triton_command import TritonOptions


class EchoTriton:
    """The real Triton with the echo models; tests may kill it and start it again in place."""

    def __init__(
        self, repository: Path, log: Path, traces_url: str = "", models: Iterable[str] = ()
    ) -> None:
        """`models`: those that it begins with, instead of all."""
        self._models = [*models] or [model.name for model in public_models(repository)]
        self.metrics_port = free_port()
        options = TritonOptions(
            repository, log, metrics_port=self.metrics_port, traces_url=traces_url
        )
        self._server = TritonServer(ensure_triton(), options)
        self.grpc_address = self._server.address
        self.log = log

    def start(self) -> None:
        """Starts the server and loads its models; returns when they answer."""
        self._server.start()
        self._server.load(self._models)

    def kill(self) -> None:
        """Ends it as `kill -9` does."""
        self._server.kill()

    def stop(self) -> None:
        """Ends it in order, for good."""
        self._server.end()


@contextmanager
def running_echo(repository: Path, log: Path, traces_url: str = "") -> Iterator[EchoTriton]:
    """The server with every model of `repository` loaded; it ends in order."""
    triton = EchoTriton(repository, log, traces_url)
    triton.start()
    try:
        yield triton
    finally:
        triton.stop()


def script(**fields: Any) -> list[ChatCompletionMessageParam]:
    """Messages that tell the echo engine what to do."""
    return [{"role": "user", "content": json.dumps(fields)}]


def echo_requests(triton: EchoTriton, engine_id: str = "") -> list[dict[str, Any]]:
    """What the echo engine did for one request, or for all it remembers, oldest first."""
    requests: list[dict[str, Any]] = echo_stats(triton, engine_id)["requests"]
    return requests


def echo_stats(triton: EchoTriton, request_id: str) -> dict[str, Any]:
    """What the echo engine did for a request."""
    request = service_pb2.ModelInferRequest(model_name="echo.engine")
    add_texts(request, "stats", [request_id], [1])
    with grpc.insecure_channel(triton.grpc_address) as channel:
        api = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        # read to its end: a call that is dropped halfway is a cancellation to the server
        (answer,) = api.ModelStreamInfer(iter([request]), timeout=PATIENCE_S)
    assert not answer.error_message, answer.error_message
    (text,) = unpack_bytes(output(answer.infer_response, "stats"))
    stats: dict[str, Any] = json.loads(text)
    return stats
