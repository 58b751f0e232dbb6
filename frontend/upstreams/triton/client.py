"""One Triton server over gRPC: the only module that knows gRPC.

One stream per generation, so that cancelling one touches no other. Whoever stops reading early, for
whatever reason, also stops the engine: Triton does not carry a cancellation into the running step
of an ensemble, so a cancel request follows by name (the tensor contract tells).
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from frontend.domain.events import Event
from frontend.domain.generation import Generation
from frontend.domain.models import Model
from frontend.errors import BackendFailed, BackendUnavailable, InvalidRequest, Overloaded
from frontend.upstreams.triton.contract import write_prompt, write_reply, write_sampling
from frontend.upstreams.triton.events import read_events
from frontend.upstreams.triton.failures import from_message, from_status, is_restricted
from frontend.upstreams.triton.tensors import add_files, add_json, add_texts

_CONTROL_TIMEOUT_S = 5.0
_LOAD_TIMEOUT_S = 1800  # an engine of many gigabytes
_CANCEL_TIMEOUT_S = 10.0
_STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
_log = logging.getLogger(__name__)
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # servers take one ping in five minutes from a silent client and cut it off at the third
    # strike: more often would end a long prefill
    ("grpc.keepalive_time_ms", 310_000),
    # fewer filters, no retry buffers, no bandwidth probes: a third less CPU per message
    ("grpc.minimal_stack", 1),
    ("grpc.enable_retries", 0),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


class _Cancellable(Protocol):
    def cancel(self) -> bool: ...
    def cancelled(self) -> bool: ...


class Triton:
    """A connection to one server. Create it inside the event loop that uses it."""

    def __init__(self, address: str, key: tuple[str, str] | None = None) -> None:
        """`key` is the name and value of what opens restricted control calls."""
        self._key = [(f"triton-grpc-protocol-{key[0]}", key[1])] if key else []
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._api = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        # one request per stream, so the client's side is a unary call: the same bytes on the wire,
        # a third of the calls into gRPC that a bidirectional one takes
        self._stream = self._channel.unary_stream(
            _STREAM_INFER,
            request_serializer=service_pb2.ModelInferRequest.SerializeToString,
            response_deserializer=service_pb2.ModelStreamInferResponse.FromString,
        )
        self._calls: dict[_Cancellable, str] = {}
        self._orphans: set[_Cancellable] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._abandoned = False

    async def ready_models(self) -> list[service_pb2.ModelConfigResponse]:
        """The configs of every loaded model. Raises BackendUnavailable when Triton is not there."""
        with self._translated("catalogue"):
            index = await self._api.RepositoryIndex(
                service_pb2.RepositoryIndexRequest(ready=True),
                timeout=_CONTROL_TIMEOUT_S,
                metadata=self._key,
            )
        names = sorted({model.name for model in index.models if model.state == "READY"})
        found = await asyncio.gather(*map(self._config, names))
        return [config for config in found if config is not None]

    async def repository(self) -> set[str]:
        """The names of all models that could be loaded. Raises GatewayError."""
        with self._translated("repository"):
            index = await self._api.RepositoryIndex(
                service_pb2.RepositoryIndexRequest(),
                timeout=_CONTROL_TIMEOUT_S,
                metadata=self._key,
            )
        return {model.name for model in index.models}

    async def load(self, name: str) -> None:
        """Loads a model and its steps as they are on disk. Raises BackendFailed."""
        try:
            request = service_pb2.RepositoryModelLoadRequest(model_name=name)
            await self._api.RepositoryModelLoad(
                request, timeout=_LOAD_TIMEOUT_S, metadata=self._key
            )
        except grpc.aio.AioRpcError as error:
            if is_restricted(error.code().name, error.details() or ""):
                raise from_status(error.code().name, error.details() or "", name) from None
            _log.error("%s does not load: %s", name, error.details())
            raise BackendFailed(
                f"the model '{name}' does not load; Triton's log says why"
            ) from None

    async def unload(self, name: str) -> None:
        """Unloads a model and the steps that no other model uses. Raises GatewayError."""
        configs = [answer.config for answer in await self.ready_models()]
        steps = {c.name: {step.model_name for step in c.ensemble_scheduling.step} for c in configs}
        own = steps.pop(name, set())
        if users := sorted(user for user, used in steps.items() if name in used):
            raise InvalidRequest(f"'{name}' is a step of '{users[0]}'", param="model")
        for each in (name, *sorted(own.difference(*steps.values()))):
            request = service_pb2.RepositoryModelUnloadRequest(model_name=each)
            with self._translated(each):
                await self._api.RepositoryModelUnload(
                    request, timeout=_LOAD_TIMEOUT_S, metadata=self._key
                )

    async def _config(self, name: str) -> service_pb2.ModelConfigResponse | None:
        """None for a model that went away since the index was read."""
        request = service_pb2.ModelConfigRequest(name=name)
        try:
            return await self._api.ModelConfig(
                request, timeout=_CONTROL_TIMEOUT_S, metadata=self._key
            )
        except grpc.aio.AioRpcError:
            return None

    async def generate(
        self, model: Model, generation: Generation, engine_id: str, timeout_s: float
    ) -> AsyncIterator[list[Event]]:
        """The events of one generation, as many at a time as Triton sends together.

        Close the iterator to stop the engine. Raises GatewayError, also after some events.
        """
        request = service_pb2.ModelInferRequest(model_name=model.name, id=engine_id)
        add_json(request, "prompt", write_prompt(generation))
        add_json(request, "sampling_parameters", write_sampling(generation))
        if "reply" in model.takes and (reply := write_reply(generation)) is not None:
            add_json(request, "reply", reply)
        if generation.images:
            add_files(request, "images", generation.images)
        reader = _Reader(self._stream(request, timeout=timeout_s))
        ended = False
        try:
            with self._running(reader.call, engine_id, model.cancel or model.name):
                while (response := await reader.read()) is not grpc.aio.EOF:
                    if response.error_message:
                        ended = True
                        await reader.read_out()
                        raise from_message(response.error_message, engine_id)
                    if contents := response.infer_response.raw_output_contents:
                        yield read_events(contents[0])
                ended = True
        finally:
            if not ended:
                self._leave_soon(reader, model, engine_id)

    async def infer(
        self, request: service_pb2.ModelInferRequest, timeout_s: float
    ) -> service_pb2.ModelInferResponse:
        """One unary call. Raises GatewayError."""
        call = self._api.ModelInfer(request, timeout=timeout_s)
        with self._running(call, request.id, request.model_name):
            return await call

    @contextlib.contextmanager
    def _running(self, call: _Cancellable, engine_id: str, engine: str) -> Iterator[None]:
        """Keeps the call where it can be ended, and tells that end from the caller's own."""
        self._calls[call] = engine
        try:
            with self._translated(engine_id):
                yield
        except asyncio.CancelledError:
            if self._abandoned:
                raise Overloaded("the server is shutting down", code="draining") from None
            if call in self._orphans:
                raise BackendUnavailable("the model was restarted; try again") from None
            raise
        finally:
            self._calls.pop(call, None)
            self._orphans.discard(call)

    def abandon(self) -> None:
        """Ends every call under way; each of them raises Overloaded."""
        self._abandoned = True
        for call in tuple(self._calls):
            call.cancel()

    def abandon_engine(self, engine: str) -> None:
        """Ends the calls that wait for an engine whose process is gone: Triton never does."""
        for call in [call for call, of in self._calls.items() if of == engine]:
            self._orphans.add(call)
            call.cancel()

    def _leave_soon(self, reader: "_Reader", model: Model, engine_id: str) -> None:
        """Stops the engine from a task of its own: the caller is being cancelled itself."""
        if model.cancel is None:
            reader.call.cancel()
            return
        task = asyncio.get_running_loop().create_task(self._leave(reader, model.cancel, engine_id))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, reader: "_Reader", engine: str, engine_id: str) -> None:
        """Sends the cancel request and reads what still comes, until the stream ends with it."""
        request = service_pb2.ModelInferRequest(model_name=engine)
        add_texts(request, "cancel", [engine_id], [1])
        try:
            async with asyncio.timeout(_CANCEL_TIMEOUT_S):
                # a failure here means that the server is gone, and the request with it
                with contextlib.suppress(grpc.RpcError):
                    await _Reader(self._stream(request, timeout=_CANCEL_TIMEOUT_S)).read_out()
                with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
                    await reader.read_out()
        except TimeoutError:
            _log.warning(
                "request %s did not end within %g s of being cancelled",
                engine_id,
                _CANCEL_TIMEOUT_S,
            )
        finally:
            reader.call.cancel()

    async def close(self) -> None:
        """Waits for cancel requests under way, then closes the connection."""
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=_CANCEL_TIMEOUT_S)
        await self._channel.close()

    @contextlib.contextmanager
    def _translated(self, engine_id: str) -> Iterator[None]:
        """Turns gRPC's errors, and answers that cannot be read, into the gateway's."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise from_status(error.code().name, error.details() or "", engine_id) from None
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            raise from_status("UNAVAILABLE", repr(error), engine_id) from None


class _Reader:
    """Reads one call. A cancellation of who reads leaves the call, and the read under way, alone.

    gRPC would cancel the call with it, and a cancellation that meets the last response on its way
    can leave Triton 2.51 with a model that it never unloads (measured: exit takes its whole
    timeout). So calls are read to their end, which a cancel request to the engine brings.
    """

    def __init__(self, call: Any) -> None:
        self.call = call
        self._under_way: asyncio.Future[Any] | None = None

    async def read(self) -> Any:
        """The next message, or gRPC's EOF."""
        reading = self._under_way or asyncio.ensure_future(self.call.read())
        self._under_way = reading
        try:
            return await asyncio.shield(reading)
        finally:
            if reading.done():
                self._under_way = None

    async def read_out(self) -> None:
        """Reads to the end."""
        while await self.read() is not grpc.aio.EOF:
            pass
