"""The gRPC connection to one Triton: unary calls, streams, and how running calls are ended.

With `client`, the only modules that know gRPC.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from frontend.domain.trace import Headers
from frontend.errors import BackendUnavailable, Overloaded
from frontend.upstreams.protocol import Call
from frontend.upstreams.triton.failures import from_status

_STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
_OPTIONS = [
    # gRPC's default is 4 MiB, less than one image
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # gRPC's default grows to two minutes, and Triton is back within seconds
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # servers accept one ping in five minutes from a silent client and close the connection at the
    # third strike: more often would end a long prefill
    ("grpc.keepalive_time_ms", 310_000),
    # fewer filters, no retry buffers, no bandwidth probes: a third less CPU per message
    ("grpc.minimal_stack", 1),
    ("grpc.enable_retries", 0),
    ("grpc.http2.bdp_probe", 0),
    # else channels with equal settings share one connection
    ("grpc.use_local_subchannel_pool", 1),
]

_MOST_AHEAD = 16
"""Messages of a stream that wait for their reader, besides those that gRPC holds."""


class _Cancellable(Protocol):
    def cancel(self) -> bool: ...
    def cancelled(self) -> bool: ...


class Connection:
    """A connection to one server. Create it inside the event loop that uses it."""

    def __init__(
        self, address: str, key: tuple[str, str] | None = None, authority: str | None = None
    ) -> None:
        """`key` is the name and value that open restricted control calls. `authority`: the name of
        a server whose checked addresses are in `address`; no proxy is used for it."""
        # Triton expects this prefix before the name that its operator chose
        self.key = [(f"triton-grpc-protocol-{key[0]}", key[1])] if key else []
        pinned = [("grpc.default_authority", authority), ("grpc.enable_http_proxy", 0)]
        options = [*_OPTIONS, *(pinned if authority is not None else ())]
        self._channel = grpc.aio.insecure_channel(address, options=options)
        self.api = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        # one request per stream, so the client's side is a unary call: the same bytes on the wire,
        # a third of the calls into gRPC that a bidirectional one takes
        self._stream = self._channel.unary_stream(
            _STREAM_INFER,
            request_serializer=service_pb2.ModelInferRequest.SerializeToString,
            response_deserializer=service_pb2.ModelStreamInferResponse.FromString,
        )
        self._calls: dict[_Cancellable, str] = {}
        self._orphans: set[_Cancellable] = set()
        self._abandoned = False

    async def infer(
        self, request: service_pb2.ModelInferRequest, call: Call
    ) -> service_pb2.ModelInferResponse:
        """One unary call. Raises GatewayError if Triton refuses or does not answer."""
        metadata = call.headers or None
        running = self.api.ModelInfer(request, timeout=call.timeout_s, metadata=metadata)
        with self.running(running, request.id, request.model_name):
            return await running

    def stream(
        self, request: service_pb2.ModelInferRequest, timeout_s: float, headers: Headers = ()
    ) -> "Reader":
        """Starts one streaming call; `headers` become metadata."""
        return Reader(self._stream(request, timeout=timeout_s, metadata=headers or None))

    @contextlib.contextmanager
    def running(self, call: _Cancellable, call_id: str, engine: str) -> Iterator[None]:
        """Keeps the call where it can be ended, and tells apart that end and the caller's own."""
        self._calls[call] = engine
        try:
            with self.translated(call_id):
                yield
        # grpc.aio reports a cancelled call as a cancellation of the task that awaits it
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
        """Ends every running call; each raises Overloaded."""
        self._abandoned = True
        # a copy, since the calls leave the dictionary as they end
        for call in tuple(self._calls):
            call.cancel()

    def abandon_engine(self, engine: str) -> None:
        """Ends the calls that wait for an engine whose process is gone: Triton never does."""
        for call in [call for call, of in self._calls.items() if of == engine]:
            self._orphans.add(call)
            call.cancel()

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()

    @contextlib.contextmanager
    def translated(self, call_id: str) -> Iterator[None]:
        """Turns gRPC's errors, and answers that cannot be read, into the gateway's."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise from_status(error.code().name, error.details() or "", call_id) from None
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            raise from_status("UNAVAILABLE", repr(error), call_id) from None


class Reader:
    """Reads one stream. Cancelling who reads leaves the stream, and the running read, alone.

    gRPC would cancel the call with it, and a cancellation that meets the last response on its way
    can leave Triton 2.51 with a model that it never unloads (measured: exit takes its whole
    timeout). So streams are read to their end, which a cancel request to the engine brings.
    """

    def __init__(self, call: Any) -> None:
        self.call = call
        self._messages: deque[Any] = deque()
        self._reading: asyncio.Task[None] | None = None
        self._awaited: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None
        self._is_over = False

    async def read(self) -> Any:
        """The next message, or None at the end."""
        while not self._messages:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                try:
                    raise failure
                finally:
                    del failure  # it refers to this frame
            if self._is_over:
                return None
            # one task for many messages: one for each costs a burst a tenth of its CPU
            if self._reading is None:
                self._reading = asyncio.create_task(self._read_ahead())
            self._awaited = asyncio.get_running_loop().create_future()
            await self._awaited
        return self._messages.popleft()

    async def _read_ahead(self) -> None:
        """Reads until the end, or until enough messages wait for their reader."""
        try:
            while not self._is_over and len(self._messages) < _MOST_AHEAD:
                message = await self.call.read()
                self._is_over = message is grpc.aio.EOF
                if not self._is_over:
                    self._messages.append(message)
                self._wake()
        except BaseException as error:
            # also that of a cancelled call, which does not cancel this task
            self._failure, self._is_over = error.with_traceback(None), True
            self._wake()
        finally:
            self._reading = None

    def _wake(self) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)

    async def read_out(self) -> None:
        """Reads to the end."""
        while await self.read() is not None:
            pass
