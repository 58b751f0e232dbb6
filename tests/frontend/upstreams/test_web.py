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
CALL = Call("ada/id", 5)
TALK = Generation(Conversation((Message("user", "a"),)))


def answer(body: str, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body.encode())}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@dataclass
class Fake:
    """Sends the same bytes for each request; without any it never answers."""

    sends: bytes
    heads: list[str] = field(default_factory=list)
    connections: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    serving: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                length = [
                    line.partition(":")[2]
                    for line in head.lower().splitlines()
                    if line.startswith("content-length")
                ]
                await reader.readexactly(int(length[0]) if length else 0)
                self.asked.set()
                if self.sends:
                    writer.write(self.sends)
                    await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def upstream(
    sends: bytes, allows: Callable[[object], bool] = lambda _: True
) -> AsyncIterator[tuple[Fake, OpenAi]]:
    fake = Fake(sends)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    web = Web(
        parse_server(f"http://127.0.0.1:{port}/base"), {"authorization": f"Bearer {KEY}"}, allows
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


async def test_an_address_that_is_not_allowed_is_not_connected_to() -> None:
    async with upstream(answer("{}"), is_public) as (fake, one):  # type: ignore[arg-type]
        with pytest.raises(UpstreamLost):
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
            assert [line async for line in lines] == [b"{}"]
        await one.web.post("/v1/embeddings", {}, CALL)
        carries = ["traceparent: 00-1-2-01\r\ntracestate: a=1" in head for head in fake.heads]
        assert carries == [True, True, False]
