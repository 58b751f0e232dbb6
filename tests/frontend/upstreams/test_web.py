"""HTTP to upstreams: bounds, redirects, kept connections, keys that never show."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from frontend.address import is_public, parse_server
from frontend.domain.generation import Conversation, Generation
from frontend.domain.messages import Message
from frontend.domain.sampling import Sampling
from frontend.errors import (
    BackendFailed,
    BackendTimeout,
    GatewayError,
    InvalidRequest,
    Overloaded,
    UpstreamBusy,
    UpstreamLost,
)
from frontend.upstreams.openai.client import OpenAi
from frontend.upstreams.protocol import Call
from frontend.upstreams.web import Web
from tests.support.events import MODEL

KEY = "sk-canary-123"
PAUSE = b"(pause)"
CALL = Call("ada/id", 5)
TALK = Generation(Conversation((Message("user", "a"),)))


def answer(body: str, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body.encode())}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@dataclass
class Fake:
    """Sends the same bytes for each request, with pauses; without any it never answers."""

    sends: bytes
    heads: list[str] = field(default_factory=list)
    closes: bool = False
    connections: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    serving: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not (self.closes and self.heads):
                await self._answer(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        length = [
            line.partition(":")[2]
            for line in head.lower().splitlines()
            if line.startswith("content-length")
        ]
        await reader.readexactly(int(length[0]) if length else 0)
        self.asked.set()
        for piece in self.sends.split(PAUSE) if self.sends else ():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def upstream(
    sends: bytes, allows: Callable[[object], bool] = lambda _: True, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[Fake, OpenAi]]:
    fake = Fake(sends)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    web = Web(
        parse_server(f"http://{host}:{port}/base"), {"authorization": f"Bearer {KEY}"}, allows
    )
    try:
        yield fake, OpenAi(web, "openai")
    finally:
        await web.close()
        server.close()
        await server.wait_closed()
        # each sees that its client has gone
        await asyncio.gather(*fake.serving)


async def generate(one: OpenAi, call: Call = CALL, generation: Generation = TALK) -> str:
    groups = [group async for group in one.generate(MODEL, generation, call)]
    return "".join(event.text for group in groups for event in group)


async def test_a_connection_is_kept_and_the_key_is_sent() -> None:
    async with upstream(answer('{"data":[{"id":"m"}]}')) as (fake, one):
        for _ in range(3):
            assert [model.name for model in await one.models()] == ["m"]
        assert fake.connections == 1
        assert fake.heads[0].startswith("GET /base/v1/models ")
        assert f"authorization: Bearer {KEY}" in fake.heads[0]


REFUSALS: list[tuple[bytes, type[GatewayError]]] = [
    (answer("", "302 Found", "location: http://127.0.0.1/"), BackendFailed),
    (answer(f'{{"error":{{"message":"bad key {KEY}"}}}}', "401 Unauthorized"), BackendFailed),
    (answer(f'{{"error":{{"message":"{KEY}"}}}}', "500 Oops"), BackendFailed),
    (answer("{}", "429 Slow down"), UpstreamBusy),
    (answer('{"error":{"message":"too hot"}}', "400 Bad Request"), InvalidRequest),
    (answer('data: {"choices": 7}\n\n'), BackendFailed),
    (answer("data: nonsense\n\n"), BackendFailed),
    (answer('data: {"error":{"message":"no","code":500}}\n\n'), BackendFailed),
    (b"nonsense\r\n\r\n", UpstreamLost),
    (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000, UpstreamLost),
]


@pytest.mark.parametrize(("sends", "kind"), REFUSALS)
async def test_bad_answers_are_errors_without_the_key(
    sends: bytes, kind: type[GatewayError], caplog: pytest.LogCaptureFixture
) -> None:
    async with upstream(sends) as (fake, one):
        with pytest.raises(kind) as caught:
            await generate(one)
        assert KEY not in caught.value.message
        if KEY in sends.decode("latin-1"):
            assert KEY in caught.value.upstream_text, "the audit may have it"
        assert len(fake.heads) == 1, "a redirect is not followed"


async def test_a_server_that_does_not_answer_is_left_at_the_deadline() -> None:
    async with upstream(b"") as (_, one):
        with pytest.raises(BackendTimeout):
            await generate(one, Call("ada/id", 0.05))


async def test_calls_end_when_the_gateway_does() -> None:
    async with upstream(b"") as (fake, one):
        task = asyncio.create_task(generate(one))
        await fake.asked.wait()
        one.abandon()
        with pytest.raises(Overloaded):
            await task


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_an_address_that_is_not_allowed_is_not_connected_to(host: str) -> None:
    async with upstream(answer("{}"), is_public, host) as (fake, one):  # type: ignore[arg-type]
        with pytest.raises(UpstreamLost, match="not allowed"):
            await one.models()
        assert fake.connections == 0


async def test_a_field_that_openai_lacks_is_refused_by_name() -> None:
    async with upstream(answer("{}")) as (fake, one):
        asked = Generation(TALK.prompt, Sampling(top_k=4))
        with pytest.raises(InvalidRequest, match="'top_k'"):
            await generate(one, generation=asked)
        assert not fake.heads


async def test_a_call_carries_its_place_in_a_trace() -> None:
    async with upstream(answer("{}")) as (fake, one):
        traced = Call("ada/id", 5, (("traceparent", "00-1-2-01"), ("tracestate", "a=1")))
        await one.web.post("/v1/embeddings", {}, traced)
        async with contextlib.aclosing(one.web.lines("/v1/completions", {}, traced)) as lines:
            assert [line async for line in lines] == [[b"{}"]]
        await one.web.post("/v1/embeddings", {}, CALL)
        carries = ["traceparent: 00-1-2-01\r\ntracestate: a=1" in head for head in fake.heads]
        assert carries == [True, True, False]


def streamed(*pieces: str) -> bytes:
    """A chunked answer with a pause after each piece."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece.encode()) for piece in pieces]
    return PAUSE.join([head, *chunks, b"0\r\n\r\n"])


async def groups_of(one: OpenAi) -> list[list[bytes]]:
    async with contextlib.aclosing(one.web.lines("/v1/completions", {}, CALL)) as lines:
        return [group async for group in lines]


async def test_lines_that_come_soon_after_each_other_travel_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # far above the pauses, and yet the end of the answer ends the rest
    monkeypatch.setattr("frontend.upstreams.web._TOGETHER_S", 60)
    monkeypatch.setattr("frontend.upstreams.web._MOST_S", 60)
    async with upstream(streamed("a\n", "b\n", "c\n", "d", "d\n", "e")) as (_, one):
        groups = await groups_of(one)
    assert groups[0] == [b"a"], "the first one does not wait"
    assert groups[1] == [b"b"]
    assert groups[2:] == [[b"c", b"dd"], [b"e"]]


async def test_a_stream_that_is_slower_than_the_rest_has_no_timers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def rest(*_: object) -> None:
        raise AssertionError("it rested")

    monkeypatch.setattr("frontend.upstreams.web._TOGETHER_S", 0)
    monkeypatch.setattr("frontend.upstreams.web._EACH_S", 0)
    monkeypatch.setattr("frontend.upstreams.web._rest", rest)
    async with upstream(streamed("a\n", "b\n", "c\n", "d\n", "e\n")) as (_, one):
        assert [line for group in await groups_of(one) for line in group] == [
            *map(str.encode, "abcde")
        ]


async def test_a_rest_ends_also_if_nothing_more_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frontend.upstreams.web._TOGETHER_S", 0.5)
    monkeypatch.setattr("frontend.upstreams.web._MOST_S", 0.5)
    # the answer never ends
    sends = streamed("a\n", "b\n", "c\n", "d\n").removesuffix(b"0\r\n\r\n")
    async with (
        upstream(sends) as (_, one),
        contextlib.aclosing(one.web.lines("/v1/completions", {}, CALL)) as lines,
    ):
        async for group in lines:
            if b"d" in group:
                return
    raise AssertionError("its last line did not come")


async def test_a_line_is_whole_however_it_is_cut() -> None:
    async with upstream(streamed("on", "e\r", "\n\r\n", "two\n\n")) as (_, one):
        assert [line for group in await groups_of(one) for line in group] == [b"one", b"two"]


async def test_the_connection_of_a_finished_stream_is_used_again() -> None:
    pieces = ['data: {"choices":[{"delta":{"content":"a"}}]}\n\n', "data: [DONE]\n\n"]
    async with upstream(streamed(*pieces)) as (fake, one):
        assert [await generate(one) for _ in range(3)] == ["a"] * 3
        assert (fake.connections, len(fake.heads)) == (1, 3)


async def test_what_follows_the_end_of_a_stream_is_not_waited_for() -> None:
    # the server never ends its answer
    piece = 'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\ndata: nonsense\n\n'
    sends = streamed(piece).removesuffix(b"0\r\n\r\n")
    async with upstream(sends) as (_, one):
        assert await generate(one) == "a"


async def test_an_answer_is_whole_although_its_connection_breaks_after_the_last_line() -> None:
    piece = 'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n'
    async with upstream(streamed(piece).removesuffix(b"0\r\n\r\n")) as (fake, one):
        fake.closes = True
        assert await generate(one) == "a"


async def test_a_kept_connection_that_the_server_has_closed_is_replaced() -> None:
    async with upstream(answer('{"data":[{"id":"m"}]}')) as (fake, one):
        await one.models()
        (serving,) = fake.serving
        serving.cancel()
        await asyncio.wait([serving])
        fake.serving.clear()
        await one.web.post("/v1/embeddings", {}, CALL)
        assert fake.connections == 2


async def test_an_answer_that_ends_too_early_is_an_error() -> None:
    sends = answer("{}").replace(b"content-length: 2", b"content-length: 20")
    async with upstream(sends) as (fake, one):
        fake.closes = True
        with pytest.raises(UpstreamLost):
            await one.web.post("/v1/embeddings", {}, CALL)
