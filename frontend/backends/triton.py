"""One Triton server over gRPC: the only module that knows gRPC.

One stream per generation, so that cancelling one touches no other. Whoever stops reading early, for
whatever reason, also stops the engine: Triton does not carry a cancellation into the running step
of an ensemble, so a cancel request follows by name (the tensor contract tells).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import orjson
from tritonclient.grpc import service_pb2, service_pb2_grpc

from frontend.backends.failures import from_message, from_status
from frontend.backends.tensors import add_texts, unpack_bytes
from frontend.domain import Event, Generation, Model
from frontend.errors import GatewayError

_CONTROL_TIMEOUT_S = 5.0
_CANCEL_TIMEOUT_S = 10.0
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 30_000),
]


class Triton:
    """A connection to one server. Create it inside the event loop that uses it."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._api = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._cancels: set[asyncio.Task[None]] = set()

    async def ready_models(self) -> list[service_pb2.ModelConfigResponse]:
        """The configs of every loaded model. Raises BackendUnavailable when Triton is not there."""
        with _translated("catalogue"):
            index = await self._api.RepositoryIndex(
                service_pb2.RepositoryIndexRequest(ready=True), timeout=_CONTROL_TIMEOUT_S
            )
            names = sorted({model.name for model in index.models if model.state == "READY"})
            return list(await asyncio.gather(*map(self._config, names)))

    async def _config(self, name: str) -> service_pb2.ModelConfigResponse:
        request = service_pb2.ModelConfigRequest(name=name)
        return await self._api.ModelConfig(request, timeout=_CONTROL_TIMEOUT_S)

    async def generate(
        self, model: Model, generation: Generation, request_id: str, timeout_s: float
    ) -> AsyncIterator[list[Event]]:
        """The events of one generation, as many at a time as Triton sends together.

        Close the iterator to stop the engine. Raises GatewayError, also after some events.
        """
        request = service_pb2.ModelInferRequest(model_name=model.name, id=request_id)
        add_texts(request, "prompt", [_json(generation.prompt)], [1])
        add_texts(request, "sampling_parameters", [_json(generation.sampling)], [1])
        call = self._api.ModelStreamInfer(timeout=timeout_s)
        ended = False
        try:
            with _translated(request_id):
                await call.write(request)
                await call.done_writing()
                while (response := await call.read()) is not grpc.aio.EOF:
                    if response.error_message:
                        ended = True
                        raise from_message(response.error_message, request_id)
                    if contents := response.infer_response.raw_output_contents:
                        yield _events(contents[0])
                ended = True
                if await call.code() is not grpc.StatusCode.OK:
                    code = await call.code()
                    raise from_status(code.name, await call.details() or "", request_id)
        finally:
            if not ended:
                call.cancel()
                self._cancel_soon(model, request_id)

    async def infer(
        self, request: service_pb2.ModelInferRequest, timeout_s: float
    ) -> service_pb2.ModelInferResponse:
        """One unary call. Raises GatewayError."""
        with _translated(request.id):
            return await self._api.ModelInfer(request, timeout=timeout_s)

    def _cancel_soon(self, model: Model, request_id: str) -> None:
        """Sends the cancel request from a task of its own: the caller is being cancelled itself."""
        if model.cancel is not None:
            task = asyncio.get_running_loop().create_task(self._cancel(model.cancel, request_id))
            self._cancels.add(task)
            task.add_done_callback(self._cancels.discard)

    async def _cancel(self, model: str, request_id: str) -> None:
        request = service_pb2.ModelInferRequest(model_name=model)
        add_texts(request, "cancel", [request_id], [1])
        # a failure here means that the server is gone, and the request with it
        with contextlib.suppress(grpc.RpcError):
            call = self._api.ModelStreamInfer(timeout=_CANCEL_TIMEOUT_S)
            await call.write(request)
            await call.done_writing()
            while await call.read() is not grpc.aio.EOF:
                pass

    async def close(self) -> None:
        """Waits for cancel requests under way, then closes the connection."""
        if self._cancels:
            await asyncio.wait(self._cancels, timeout=_CANCEL_TIMEOUT_S)
        await self._channel.close()


@contextlib.contextmanager
def _translated(request_id: str) -> Any:
    """Turns gRPC's errors into the gateway's."""
    try:
        yield
    except grpc.RpcError as error:
        raise translate(error, request_id) from None
    except asyncio.InvalidStateError:  # writing to a call that failed at once
        raise from_status(
            "UNAVAILABLE", "the call ended before it was written", request_id
        ) from None


def translate(error: grpc.RpcError, request_id: str) -> GatewayError:
    """The gateway's error for one of gRPC's."""
    if isinstance(error, grpc.aio.AioRpcError):
        return from_status(error.code().name, error.details() or "", request_id)
    return from_status("UNKNOWN", str(error), request_id)


def _json(value: dict[str, Any]) -> str:
    return orjson.dumps(value).decode()


def _events(raw: bytes) -> list[Event]:
    return [_event(orjson.loads(element)) for element in unpack_bytes(raw)]


def _event(value: dict[str, Any]) -> Event:
    usage = value["usage"]
    return Event(
        value["index"],
        value["text"],
        value["token_ids"],
        value["finish_reason"],
        value["stop_reason"],
        usage["prompt_tokens"],
        usage["cached_tokens"],
        usage["completion_tokens"],
        value.get("logprobs"),
        value.get("prompt_logprobs"),
        value.get("prompt_token_ids"),
    )
