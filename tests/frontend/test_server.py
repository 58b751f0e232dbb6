"""A request's head is bounded in size and time, whatever pieces it comes in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from frontend import server
from frontend.routes.http import send_bytes
from frontend.server import MAX_HEAD_BYTES, BoundedHttp

GET = b"GET / HTTP/1.1\r\nhost: x\r\n"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that is content with everything."""
    await send_bytes(send, b"fine")


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a real socket behind which the protocol runs."""
    config, state = uvicorn.Config(answer, ws="none", log_config=None), ServerState()
    listener = await asyncio.get_running_loop().create_server(
        lambda: BoundedHttp(config, state, {}), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        listener.close()
        for connection in list(state.connections):
            connection.transport.close()
        await listener.wait_closed()


async def said(*parts: bytes) -> bytes:
    """What comes back until the connection is closed, or `fine`."""
    async with asyncio.timeout(10), connected() as (reader, writer):
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0.001)  # in packets of their own, if the kernel likes
        heard = b""
        while not heard.endswith(b"fine") and (more := await reader.read(65536)):
            heard += more
        return heard


def refusal(raw: bytes) -> dict[str, Any]:
    """The error in a refusal, whose head must be complete."""
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nx-request-id: " in head
    error: dict[str, Any] = orjson.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize("size", [1, 4096, 100_000])
async def test_a_head_within_its_bound_is_taken_in_any_pieces(size: int) -> None:
    head = GET + b"x: " + b"y" * (MAX_HEAD_BYTES * 9 // 10) + b"\r\n\r\n"
    parts = [GET, *(head[len(GET) :][n : n + size] for n in range(0, len(head), size))]
    assert (await said(*(parts if size > 1 else [head]))).endswith(b"fine")


@pytest.mark.parametrize(
    "parts",
    [
        [GET + b"x: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n"],
        [GET, b"x: ", *[b"y" * 4096] * 16, b"y"],
        [GET, *[b"x: y\r\n" * 1000] * 33],
        [b"GET /", *[b"a" * 4096] * 16, b"a"],
        [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /", *[b"a" * 4096] * 16, b"a"],
    ],
)
async def test_a_head_beyond_its_bound_is_refused(parts: list[bytes]) -> None:
    raw = await said(*parts)
    assert "larger than" in refusal(raw[raw.rindex(b"HTTP/1.1 400") :])["message"]


async def test_what_is_not_http_is_refused_in_the_shape_of_all_errors() -> None:
    error = refusal(await said(b"\x16\x03\x01 this is TLS\r\n\r\n"))
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("start", [b"", b"GET", GET, GET + b"\r\n" + GET])
async def test_a_head_that_does_not_come_is_not_waited_for(
    start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_TIMEOUT_S", 0.05)
    async with asyncio.timeout(5), connected() as (reader, writer):
        writer.write(start)
        heard = await reader.read()
    assert heard.count(b"fine") == start.count(b"\r\n\r\n")


async def test_an_answered_connection_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_TIMEOUT_S", 0.05)
    async with connected() as (reader, writer):
        writer.write(GET + b"\r\n")
        await reader.readuntil(b"fine")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read(1)
