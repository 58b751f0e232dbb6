"""Forwards Triton's gRPC for other machines, without calls that change the server or run code.

`python -m toolkit.serve.relay`: it listens on a reachable address and forwards calls to the private
socket of Triton. Inference and calls that describe models are forwarded. Loading and unloading need
the key of a private file and accept only a model's name, so only what is on disk can be loaded;
everything else (shared memory, log settings, traces, configs and files in a load) is refused.
"""

import argparse
import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from secrets import compare_digest
from typing import Any

import grpc
from tritonclient.grpc import service_pb2

from toolkit.errors import ServeError
from toolkit.serve.connection import Key

PING = "/toolkit.Relay/Ping"
_TRITON = "/inference.GRPCInferenceService/"
_OPEN = {
    *(f"{_TRITON}Server{name}" for name in ("Live", "Ready", "Metadata")),
    *(f"{_TRITON}Model{name}" for name in ("Ready", "Metadata", "Config", "Statistics", "Infer")),
    f"{_TRITON}RepositoryIndex",
    "/grpc.health.v1.Health/Check",
}
_STREAM = f"{_TRITON}ModelStreamInfer"
_REQUESTS: dict[str, Any] = {
    f"{_TRITON}RepositoryModelLoad": service_pb2.RepositoryModelLoadRequest,
    f"{_TRITON}RepositoryModelUnload": service_pb2.RepositoryModelUnloadRequest,
}
_HARMLESS = {"unload_dependents"}
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # gRPC's default lets a second relay share the port silently
    ("grpc.so_reuseport", 0),
]
_ERROR_MODE = "triton_grpc_error"
_Context = Any  # grpc.aio's, which cannot be subscripted when it runs


@dataclass(frozen=True, slots=True)
class Relay(grpc.GenericRpcHandler):
    """Which calls are forwarded. Loading and unloading need `key`; None refuses them."""

    triton: grpc.aio.Channel
    key: Key | None

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        """The handler of one call; only load and unload requests are parsed."""
        method = str(details.method)
        if method == _STREAM:
            return grpc.stream_stream_rpc_method_handler(self._stream)
        if method == PING:
            return grpc.unary_unary_rpc_method_handler(_ping)
        if method in _OPEN:
            return grpc.unary_unary_rpc_method_handler(self._passing(method))
        if method in _REQUESTS and self._is_keyed(details.invocation_metadata):
            return grpc.unary_unary_rpc_method_handler(self._controlling(method))
        return grpc.unary_unary_rpc_method_handler(_refuse)

    def _is_keyed(self, metadata: Any) -> bool:
        if self.key is None:
            return False
        shown = [value for name, value in metadata if name == self.key.header]
        # all entries: metadata may carry the header more than once
        return any(compare_digest(str(value).encode(), self.key.value.encode()) for value in shown)

    def _passing(self, method: str) -> Callable[[bytes, _Context], Any]:
        async def call(request: bytes, context: _Context) -> bytes:
            return await self._call(method, request, context)

        return call

    def _controlling(self, method: str) -> Callable[[bytes, _Context], Any]:
        async def call(request: bytes, context: _Context) -> bytes:
            # checked as parsed, forwarded as bytes: Triton reads what was checked
            parsed = _REQUESTS[method].FromString(request)
            if given := sorted(set(parsed.parameters) - _HARMLESS):
                await context.abort(
                    grpc.StatusCode.PERMISSION_DENIED,
                    f"'{given[0][:50]}' is not allowed here: models are loaded only by name",
                )
            return await self._call(method, request, context)

        return call

    async def _call(self, method: str, request: bytes, context: _Context) -> bytes:
        ask: Any = self.triton.unary_unary(method)
        call = ask(request, timeout=context.time_remaining())
        try:
            return bytes(await call)
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
            raise
        finally:
            # a client that went away must not leave its call running in Triton
            call.cancel()

    async def _stream(
        self, requests: AsyncIterator[bytes], context: _Context
    ) -> AsyncIterator[bytes]:
        # all other metadata ends here, keys of Triton's restricted protocols included
        passed = [(n, v) for n, v in context.invocation_metadata() or () if n == _ERROR_MODE]
        ask: Any = self.triton.stream_stream(_STREAM)
        call = ask(requests, timeout=context.time_remaining(), metadata=passed)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
        finally:
            call.cancel()


async def _ping(_: bytes, __: _Context) -> bytes:
    return b""


async def _refuse(_: bytes, context: _Context) -> None:
    await context.abort(
        grpc.StatusCode.PERMISSION_DENIED,
        "this call is restricted; to load and unload models by name, send the key of this"
        " server's --control-key-file",
    )


async def serve(addresses: list[str], triton: str, key: Key | None, drain_s: float) -> None:
    """Forwards calls until a signal; running calls may then take `drain_s`. Raises ServeError if an
    address cannot be bound."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with grpc.aio.insecure_channel(triton, options=_OPTIONS) as channel:
        server = grpc.aio.server(handlers=[Relay(channel, key)], options=_OPTIONS)
        for address in addresses:
            try:
                server.add_insecure_port(address)
            except RuntimeError as error:
                raise ServeError(f"cannot listen on {address}: {error}") from error
        await server.start()
        await ended.wait()
        await server.stop(drain_s)


def is_up(socket: Path, timeout_s: float) -> bool:
    """Whether the relay answers on `socket`; it does not ask Triton."""
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        try:
            ping: Any = channel.unary_unary(PING)
            ping(b"", timeout=timeout_s)
        except grpc.RpcError:
            return False
    return True


def main() -> None:
    """Reads the arguments that the supervisor gives."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", action="append", required=True)
    parser.add_argument("--triton", required=True)
    parser.add_argument("--key-file", type=Path)
    parser.add_argument("--drain-s", type=float, default=0.0)
    given = parser.parse_args()
    key = Key.read(given.key_file) if given.key_file else None
    asyncio.run(serve(given.listen, given.triton, key, given.drain_s))


if __name__ == "__main__":
    main()
