"""What never becomes a request is refused; connections end when nobody uses them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from frontend.http.connections import Connections
from frontend.http.limits import Limits
from frontend.http.protocol import BoundedHttp
from frontend.http.send import send_bytes
from frontend.http.server import server_config

LIMITS = Limits(
    connections=8,
    connections_per_address=8,
    pipelined=4,
    discarded_bytes=10**6,
)
HEAD_BYTES = LIMITS.head_bytes
GET = b"GET / HTTP/1.1\r\nhost: x\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"


class Noting:
    """A transport that notes what is written together."""

    def __init__(self, transport: asyncio.Transport, wrote: list[bytes]) -> None:
        self._transport, self._wrote = transport, wrote

    def write(self, data: bytes) -> None:
        self.writelines([data])

    def writelines(self, parts: list[bytes]) -> None:
        self._wrote.append(b"".join(parts))
        self._transport.writelines(parts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Counting(BoundedHttp):
    """Knows how much it received, and notes what it writes."""

    received = 0

    def __init__(self, *given: Any, wrote: list[bytes], **more: Any) -> None:
        super().__init__(*given, **more)
        self._wrote = wrote

    def connection_made(self, transport: Any) -> None:
        super().connection_made(Noting(transport, self._wrote))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        super().data_received(data)


@dataclass
class Server:
    """The protocol behind a real socket, with a clock that stands still."""

    limits: Limits = LIMITS
    now_s: float = 1000.0
    seen: list[tuple[Scope, bytes]] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    address: tuple[str, int] = ("", 0)
    wrote: list[bytes] = field(default_factory=list)
    body: bytes = b"fine"

    def __post_init__(self) -> None:
        self.connections = Connections(self.limits, lambda: self.now_s)
        self.may_answer.set()

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the body, unless the path says not to, and is content with everything."""
        body, more = b"", scope["path"] != "/unread"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        await self.may_answer.wait()
        self.seen.append((scope, body))
        await send_bytes(send, self.body)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Server"]:
        config, state = server_config(self.app, self.connections, "", 0), ServerState()
        listener = await asyncio.get_running_loop().create_server(
            lambda: Counting(config, state, {}, connections=self.connections, wrote=self.wrote),
            "127.0.0.1",
            0,
        )
        self.address = listener.sockets[0].getsockname()
        try:
            yield self
        finally:
            listener.close()
            for connection in list(state.connections):
                connection.transport.abort()
            await listener.wait_closed()
            for task in state.tasks:
                task.cancel()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A client of it."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def said(self, *parts: bytes, end: bytes = b"fine") -> bytes:
        """All that comes back until the connection is closed, or to this end."""
        async with asyncio.timeout(60), self.connected() as (reader, writer):
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0)
            heard = b""
            while not heard.endswith(end) and (more := await reader.read(65536)):
                heard += more
            return heard


async def said(*parts: bytes, end: bytes = b"fine") -> bytes:
    """The same of a server of its own."""
    async with Server().listening() as server:
        return await server.said(*parts, end=end)


async def until(condition: Callable[[], object]) -> None:
    """Waits for it."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def refusal(raw: bytes, status: int = 400) -> dict[str, Any]:
    """The error in a refusal, which must be all there is."""
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), raw[:200]
    assert b"\r\nx-request-id: " in head
    assert b"\r\nconnection: close" in head
    error: dict[str, Any] = orjson.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize("size", [1, 4096, 100_000])
async def test_a_head_within_its_bound_is_taken_in_any_pieces(size: int) -> None:
    head = GET + b"x: " + b"y" * (HEAD_BYTES * 9 // 10) + b"\r\n\r\n"
    parts = [GET, *(head[len(GET) :][n : n + size] for n in range(0, len(head), size))]
    assert (await said(*(parts if size > 1 else [head]))).endswith(b"fine")


@pytest.mark.parametrize(
    "parts",
    [
        [GET + b"x: " + b"y" * HEAD_BYTES + b"\r\n\r\n"],
        [GET, b"x: ", *[b"y" * 4096] * 17, b"y"],
        [b"GET /", *[b"a" * 4096] * 17, b"a"],
        [b"\r\n" * HEAD_BYTES],
        [*[b"\r\n" * 4096] * 9],
        [GET + b"\r\n", b"GET /", *[b"a" * 4096] * 17, b"a"],
        [GET + b"\r\n", *[b"\r\n" * 4096] * 30],
    ],
)
async def test_a_head_beyond_its_bound_is_refused(parts: list[bytes]) -> None:
    raw = await said(*parts, end=b"}}")
    assert "larger than" in refusal(raw[raw.rindex(b"HTTP/1.1 400") :])["message"]


async def test_the_number_of_headers_is_bounded() -> None:
    many = [b"x-%d: y\r\n" % n for n in range(LIMITS.headers - 1)]
    assert (await said(GET, *many, b"\r\n")).endswith(b"fine")
    error = refusal(await said(GET, *many, b"z: z\r\n", b"\r\n"))
    assert str(LIMITS.headers) in error["message"]


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        POST + b"content-length: 1\r\ncontent-length: 1\r\n\r\na",
        POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\na",
        POST + b"content-length: 1, 1\r\n\r\na",
        POST + b"content-length: +1\r\n\r\na",
        POST + b"content-length: -1\r\n\r\na",
        POST + b"content-length: 0x1\r\n\r\na",
        POST + b"content-length: 99999999999999999999\r\n\r\na",
        POST + b"content-length: 1 \r\n 2\r\n\r\na",
        POST + b"content-length : 1\r\n\r\na",
        POST + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\ntransfer-encoding: x\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: identity\r\n\r\n",
        POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\nhost: x\n\n",
        GET + b"a: b\nc: d\r\n\r\n",
        GET + b"a: b\rc: d\r\n\r\n",
        GET + b"a: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\n host: x\r\n\r\n",
        GET + b"a\r\n\r\n",
        GET + b": a\r\n\r\n",
        GET + b"a: \0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.2\r\nhost: x\r\n\r\n",
        b"GET / HTTP/2.0\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"DESCRIBE / RTSP/1.0\r\nhost: x\r\n\r\n",
        b"SOURCE / ICE/1.0\r\nhost: x\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"BREW / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET http://y/ HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET http://x:1/ HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET http://x@y/ HTTP/1.1\r\nhost: x\r\n\r\n",
        CHUNKED + b"3\nabc\n0\n\n",
        CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3;a=b\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
        CHUNKED + b"FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
        b"\x16\x03\x01 this is TLS\r\n\r\n",
    ],
)
async def test_what_two_readers_may_read_differently_is_refused(raw: bytes) -> None:
    async with Server().listening() as server:
        refusal(await server.said(raw + SMUGGLED))
        assert not server.seen


@pytest.mark.parametrize(
    ("hosts", "taken"),
    [
        ([], False),
        ([b"x", b"x"], False),
        ([b"x", b"y"], False),
        ([b""], False),
        ([b"x/y"], False),
        ([b"x y"], False),
        ([b"x@y"], False),
        ([b"x:y"], False),
        ([b"x:99999"], False),
        ([b"x,y"], True),
        ([b"x:9000"], True),
        ([b"x:"], True),
        ([b"[::1]:9000"], True),
        ([b"::1"], False),
        ([b"[x]"], False),
        (["ü".encode()], False),
        ([b"localhost."], True),
    ],
)
async def test_a_request_has_one_valid_host(hosts: list[bytes], taken: bool) -> None:
    lines = b"".join(b"Host: %b\r\n" % host for host in hosts)
    raw = await said(b"GET / HTTP/1.1\r\n" + lines + b"\r\n")
    assert raw.endswith(b"fine") if taken else refusal(raw)["param"] == "host"


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET http://x/ HTTP/1.1\r\nhost: X\r\n\r\n",
        b"GET http://x HTTP/1.1\r\nhost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET // HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /%00%ff?a#b HTTP/1.1\r\nhost: x\r\n\r\n",
        POST + b"Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n",
        CHUNKED + b"3;a=b\r\nabc\r\n0\r\n\r\n",
    ],
)
async def test_what_is_valid_is_taken(raw: bytes) -> None:
    assert (await said(raw)).endswith(b"fine")


@pytest.mark.parametrize("pieces", [1, 7, 1000])
async def test_trailers_are_refused_and_are_no_headers(pieces: int) -> None:
    raw = CHUNKED + b"3\r\nabc\r\n0\r\nauthorization: Bearer x\r\n\r\n"
    async with Server().listening() as server:
        parts = [raw[n : n + pieces] for n in range(0, len(raw), pieces)]
        assert "trailer" in refusal(await server.said(*parts))["message"]
        assert not server.seen


@pytest.mark.parametrize(
    "flood",
    [b"x: " + b"y" * 40_000, b"y" * 40_000, b"0" * 40_000, b"1;a=" + b"b" * 40_000],
)
async def test_endless_framing_of_a_body_is_refused(flood: bytes) -> None:
    start = CHUNKED + (b"0\r\n" if flood[:1] in b"xy" else b"")
    refusal(await said(start, flood, flood, b"0" * 60_000, b"0" * 60_000))


async def test_a_body_of_tiny_chunks_is_refused() -> None:
    assert "chunks" in refusal(await said(CHUNKED, *[b"1\r\na\r\n" * 10_000] * 9))["message"]


async def test_a_body_of_small_chunks_is_taken() -> None:
    async with Server().listening() as server:
        chunks = [b"a\r\n0123456789\r\n" * 1000] * 50
        assert (await server.said(CHUNKED, *chunks, b"0\r\n\r\n")).endswith(b"fine")
        assert len(server.seen[0][1]) == 500_000


async def test_a_request_that_asks_for_another_protocol_is_answered_as_it_is() -> None:
    upgrade = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n"
    for framing, body in (
        (b"content-length: 3\r\n", b"abc"),
        (b"transfer-encoding: chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n"),
    ):
        async with Server().listening() as server:
            raw = POST + upgrade + framing + b"\r\n" + body
            async with server.connected() as (reader, writer):
                for part in (raw, raw[:-2], raw[-2:], GET + upgrade + b"\r\n"):
                    writer.write(part)
                    await asyncio.sleep(0)
                for _ in range(3):
                    await reader.readuntil(b"fine")
            assert [body for _, body in server.seen] == [b"abc", b"abc", b""]


async def test_a_whole_answer_is_one_write() -> None:
    for request, body, end in (
        (GET + b"\r\n", b"fine", b"\r\n\r\nfine"),
        (GET + b"connection: close\r\n\r\n", b"fine", b"\r\n\r\nfine"),
        (GET + b"\r\n", b"", b"\r\n\r\n"),
        (GET.replace(b"GET", b"HEAD") + b"\r\n", b"fine", b"\r\n\r\n"),
    ):
        async with Server(body=body).listening() as server:
            heard = await server.said(request, end=end)
            assert heard.endswith(end)
            assert b"\r\ncontent-length: %d\r\n" % len(body) in heard
            assert server.wrote == [heard], request
            # the connection continues as before
            twice = await server.said(GET + b"\r\n" + GET + b"connection: close\r\n\r\n", end=b"!")
            assert twice.count(b"HTTP/1.1 200") == 2


async def test_answers_come_in_order_and_before_a_refusal() -> None:
    async with Server().listening() as server:
        server.may_answer.clear()
        async with server.connected() as (reader, writer):
            writer.write(GET + b"\r\n" + GET + b"\r\n" + b"nonsense\r\n\r\n" + GET + b"\r\n")
            await until(lambda: any(each._closing for each in server.connections._open))
            server.may_answer.set()
            raw = await reader.read()
        assert raw.count(b"fine") == len(server.seen) == 2
        refusal(raw[raw.rindex(b"fine") + 4 :])


async def test_requests_sent_ahead_are_bounded() -> None:
    async with Server().listening() as server:
        server.may_answer.clear()
        async with server.connected() as (reader, writer):
            writer.write((GET + b"\r\n") * 5000)
            await until(lambda: any(each._closing for each in server.connections._open))
            server.may_answer.set()
            raw = await reader.read()
        assert len(server.seen) == LIMITS.pipelined + 1
        assert "pipelined" in refusal(raw[raw.rindex(b"fine") + 4 :])["message"]


async def test_requests_ahead_can_be_forbidden() -> None:
    async with Server(replace(LIMITS, pipelined=0)).listening() as server:
        async with server.connected() as (reader, writer):
            for _ in range(2):
                writer.write(GET + b"\r\n")
                await reader.readuntil(b"fine")
            writer.write((GET + b"\r\n") * 2)
            raw = await reader.read()
        assert raw.count(b"fine") == 1
        assert "pipelined" in refusal(raw[raw.rindex(b"fine") + 4 :])["message"]


async def test_an_answer_that_leaves_the_body_unread_ends_the_connection() -> None:
    start = b"POST /unread HTTP/1.1\r\nhost: x\r\n"
    for framing in (b"content-length: 99\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n"):
        async with Server().listening() as server, server.connected() as (reader, writer):
            writer.write(start + framing)
            raw = await reader.read()
            assert raw.endswith(b"fine")
            assert b"connection: close" in raw
            for _ in range(50):  # what still comes costs nothing, and is nobody's request
                writer.write(SMUGGLED + b"x: " + b"y" * 10_000)
                await writer.drain()
            assert len(server.seen) == 1
            server.now_s += LIMITS.client_s + 1
            server.connections.sweep()
            await until(lambda: not len(server.connections))


async def test_no_more_than_a_body_is_discarded() -> None:
    async with Server().listening() as server, server.connected() as (reader, writer):
        writer.write(b"POST /unread HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        assert (await reader.read()).endswith(b"fine")
        async with asyncio.timeout(60):
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(b"x" * 10_000)
                    await writer.drain()


async def test_an_unread_body_that_is_there_keeps_the_connection() -> None:
    raw = b"POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"
    async with Server().listening() as server, server.connected() as (reader, writer):
        for _ in range(3):
            writer.write(raw)
            assert b"close" not in await reader.readuntil(b"fine")


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"", b"\r\n"),
        (b"GET", b" "),
        (GET, b"x"),
        (GET + b"\r\n" + GET, b"x"),
        (GET + b"\r\n" + b"G", b"E"),
    ],
)
async def test_a_head_that_does_not_come_is_not_waited_for(start: bytes, more: bytes) -> None:
    async with Server().listening() as server, server.connected() as (reader, writer):
        writer.write(start)
        if b"\r\n\r\n" in start:
            await reader.readuntil(b"fine")
        await until(lambda: len(server.connections))
        (connection,) = server.connections._open
        await until(lambda: connection.received == len(start))
        server.now_s += LIMITS.client_s - 1
        server.connections.sweep()
        assert not connection.transport.is_closing()
        writer.write(more)  # a byte now and then does not help
        await until(lambda: connection.received == len(start + more))
        server.now_s += 2
        server.connections.sweep()
        async with asyncio.timeout(60):
            assert await reader.read() == b""


async def test_an_answered_connection_is_kept_until_it_is_idle() -> None:
    async with Server().listening() as server, server.connected() as (reader, writer):
        for _ in range(3):
            writer.write(GET + b"\r\n")
            await reader.readuntil(b"fine")
            server.now_s += LIMITS.idle_s - 1
            server.connections.sweep()
        server.now_s += 2
        server.connections.sweep()
        async with asyncio.timeout(60):
            assert await reader.read() == b""


async def test_a_request_may_take_as_long_as_it_takes() -> None:
    async with Server().listening() as server, server.connected() as (reader, writer):
        server.may_answer.clear()
        writer.write(GET + b"\r\n")
        await until(lambda: all(each.waits_since_s is None for each in server.connections._open))
        server.now_s += 10_000
        server.connections.sweep()
        server.may_answer.set()
        await reader.readuntil(b"fine")


async def test_connections_beyond_the_limit_are_told_so() -> None:
    async with Server().listening() as server, contextlib.AsyncExitStack() as stack:
        server.may_answer.clear()
        clients = [await stack.enter_async_context(server.connected()) for _ in range(8)]
        for _, writer in clients:
            writer.write(GET + b"\r\n")
        await until(lambda: all(each.waits_since_s is None for each in server.connections._open))
        await until(lambda: len(server.connections) == 8)
        async with server.connected() as (reader, _):
            error = refusal(await reader.read(), 429)
            assert "address" in error["message"]
        server.may_answer.set()
        for reader, _ in clients:
            await reader.readuntil(b"fine")


async def test_whoever_only_opens_connections_shuts_nobody_out() -> None:
    async with Server().listening() as server, contextlib.AsyncExitStack() as stack:
        reader, writer = await stack.enter_async_context(server.connected())
        for _ in range(50):
            await stack.enter_async_context(server.connected())
            writer.write(GET + b"\r\n")
            await reader.readuntil(b"fine")
            assert (await server.said(GET + b"\r\n")).endswith(b"fine")


FRAGMENTS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.0\r\n", b"host: x\r\n",
        b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n", b"connection: close\r\n",
        b"upgrade: h2c\r\nconnection: upgrade\r\n", b"expect: 100-continue\r\n", b"\r\n", b"\n",
        b"hello", b"5\r\nhello\r\n", b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b" ", b"\t", b";a=b",
        b"http://x/", b"\0", b"x" * 5000, SMUGGLED,
    ]
)  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=12), st.integers(1, 40))
def test_whatever_is_sent_another_caller_is_answered(parts: list[bytes], size: int) -> None:
    """And what is heard is whole answers, in which each request has one."""

    async def attack() -> None:
        raw, heard = b"".join(parts), b""
        step = max(size, len(raw) // 50)
        async with Server().listening() as server, server.connected() as (reader, writer):
            with contextlib.suppress(OSError):  # sent more after the connection was refused
                for n in range(0, len(raw), step):
                    writer.write(raw[n : n + step])
                    await asyncio.sleep(0)
                writer.write_eof()
            assert (await server.said(GET + b"\r\n")).endswith(b"fine")
            async with asyncio.timeout(60):
                with contextlib.suppress(OSError):
                    while more := await reader.read(65536):
                        heard += more
            heard = heard.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
            answers = heard.split(b"HTTP/1.1 ")[1:]
            assert all(answer.startswith((b"200", b"400")) for answer in answers)
            assert all(answer.startswith(b"200") for answer in answers[:-1])
            assert heard.count(b"fine") <= len(server.seen)

    asyncio.run(attack())
