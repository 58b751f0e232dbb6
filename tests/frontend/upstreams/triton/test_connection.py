"""What goes to Triton beside a request: its place in a trace, as metadata of gRPC."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from frontend.upstreams.protocol import Call
from frontend.upstreams.triton.connection import Connection

TRACED = Call("ada/id", 5, (("traceparent", "00-1-2-01"), ("tracestate", "a=1")))
Seen = list[dict[str, str]]


class _Server(grpc.GenericRpcHandler):
    """Takes calls of both kinds and notes their metadata."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def service(self, handler_call_details: Any) -> Any:
        metadata = handler_call_details.invocation_metadata
        self._seen.append({key: value for key, value in metadata if key.startswith("trace")})
        if handler_call_details.method.endswith("/ModelInfer"):
            return grpc.unary_unary_rpc_method_handler(
                self._infer, service_pb2.ModelInferRequest.FromString,
                service_pb2.ModelInferResponse.SerializeToString,
            )  # fmt: skip
        return grpc.unary_stream_rpc_method_handler(
            self._stream, service_pb2.ModelInferRequest.FromString,
            service_pb2.ModelStreamInferResponse.SerializeToString,
        )  # fmt: skip

    async def _infer(self, request: Any, _: Any) -> Any:
        return service_pb2.ModelInferResponse(model_name=request.model_name)

    async def _stream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        # more than wait for their reader at a time
        for number in range(40):
            yield service_pb2.ModelStreamInferResponse(error_message=str(number))
        if request.model_name == "broken":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


@pytest.fixture
async def served() -> AsyncIterator[tuple[Connection, Seen]]:
    seen: Seen = []
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Server(seen),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    connection = Connection(f"127.0.0.1:{port}")
    yield connection, seen
    await connection.close()
    await server.stop(None)


async def test_calls_carry_their_place_in_a_trace(served: tuple[Connection, Seen]) -> None:
    connection, seen = served
    request = service_pb2.ModelInferRequest(model_name="m")
    await connection.infer(request, TRACED)
    await connection.stream(request, TRACED.timeout_s, TRACED.headers).read_out()
    await connection.infer(request, Call("ada/id", 5))
    assert seen == [dict(TRACED.headers), dict(TRACED.headers), {}]


async def test_a_stream_is_read_in_order_to_its_end(served: tuple[Connection, Seen]) -> None:
    connection, _ = served
    reader = connection.stream(service_pb2.ModelInferRequest(model_name="m"), 60)
    # who stops waiting for a message leaves it to the next one
    waiting = asyncio.create_task(reader.read())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [(await reader.read()).error_message for _ in range(40)] == [*map(str, range(40))]
    assert await reader.read() is None
    assert await reader.read() is None


async def test_a_stream_that_breaks_gives_what_came_and_then_why(
    served: tuple[Connection, Seen],
) -> None:
    connection, _ = served
    reader = connection.stream(service_pb2.ModelInferRequest(model_name="broken"), 60)
    assert [(await reader.read()).error_message for _ in range(40)] == [*map(str, range(40))]
    with pytest.raises(grpc.aio.AioRpcError, match="gone"):
        await reader.read()


async def test_a_cancelled_call_ends_its_reader(served: tuple[Connection, Seen]) -> None:
    connection, _ = served
    reader = connection.stream(service_pb2.ModelInferRequest(model_name="m"), 60)
    await reader.read()
    reader.call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader.read_out()
    assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]
