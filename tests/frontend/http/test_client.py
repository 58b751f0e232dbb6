"""Bodies are read within bounds; a client that leaves or stalls ends the work for it."""

import asyncio
import gc
import weakref
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from frontend.budget import Budget
from frontend.errors import (
    ClientTimeout,
    GatewayError,
    InvalidRequest,
    Overloaded,
    TooLarge,
    UnsupportedMedia,
)
from frontend.http.body import BodyBounds, ClientGone, is_deeper
from frontend.http.client import Client
from tests.support.upstream import request


class Peer:
    """An ASGI server's end: sends what the test gives it, then stays silent."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.stuck = asyncio.Event()
        self.gone = asyncio.Event()
        self.request = request()

    async def receive(self) -> Message:
        if self.messages:
            return self.messages.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.stuck.wait()

    def client(self, timeout_s: float = 5, **headers: str) -> Client:
        pairs = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
        scope = {"type": "http", "headers": pairs}
        return Client(self.request, scope, self.receive, self.send, timeout_s)


def body(data: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


async def test_a_body_may_come_in_pieces() -> None:
    peer = Peer(body(b'{"a":', True), body(b"", True), body(b" 1}"))
    assert await peer.client().read_json(BodyBounds(100)) == {"a": 1}


@pytest.mark.parametrize(
    ("data", "headers", "error"),
    [
        (b"{", {}, InvalidRequest),
        (b"x" * 101, {}, TooLarge),
        (b"{}", {"content_type": "text/html"}, UnsupportedMedia),
        (b"{}", {"content_encoding": "br"}, UnsupportedMedia),
        (b"[" * 65 + b"]" * 65, {}, InvalidRequest),
    ],
)
async def test_bodies_that_are_not_taken(
    data: bytes, headers: dict[str, str], error: type[GatewayError]
) -> None:
    with pytest.raises(error):
        await (
            Peer(body(data))
            .client(**headers)
            .read_json(BodyBounds(100 if len(data) < 120 else 1000))
        )


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", ""])
async def test_content_types_that_are_taken(kind: str) -> None:
    assert await Peer(body(b"{}")).client(content_type=kind).read_json(BodyBounds(100)) == {}


async def test_a_body_that_says_its_length_is_refused_before_it_is_read() -> None:
    peer = Peer()
    with pytest.raises(TooLarge) as refused:
        await peer.client(content_length="101").read_json(BodyBounds(100))
    assert refused.value.param == "body"


@pytest.mark.parametrize("piece", [b'"k":0,', b"0,", b"[],", b'{"a":{}},'])
async def test_values_are_counted_while_they_arrive(piece: bytes) -> None:
    peer = Peer(*[body(piece * 1000, True)] * 100)
    with pytest.raises(InvalidRequest, match="more than 5000 JSON values") as refused:
        await peer.client().read_json(BodyBounds(2**20, values=5000))
    assert refused.value.param == "body"
    assert len(peer.messages) > 90


async def test_objects_and_lists_are_counted_apart() -> None:
    peer = Peer(*[body(b"[{}],[]," * 1000, True)] * 100)
    with pytest.raises(InvalidRequest, match="more than 5000 JSON objects and lists"):
        await peer.client().read_json(BodyBounds(2**20, containers=5000))
    flat = Peer(body(b"[" + b"0," * 10_000 + b"0]"))
    assert len(await flat.client().read_json(BodyBounds(2**20, containers=5000))) == 10_001


async def test_a_text_is_one_value_however_many_commas_it_has() -> None:
    text = ',:[{"' * 10_000
    large = Peer(body(orjson.dumps([text])))
    assert await large.client().read_json(BodyBounds(2**20, values=1000)) == [text]


async def test_large_bodies_wait_for_each_other_and_small_ones_do_not() -> None:
    budget = Budget(200_000)
    bounds = BodyBounds(100_000, budget=budget)
    large = body(b'"' + b"x" * 70_000 + b'"')
    first = Peer(large)
    await first.client(content_length="70002").read_json(bounds)
    with pytest.raises(Overloaded):
        await Peer(large).client(timeout_s=0.01).read_json(bounds)
    assert await Peer(body(b"{}")).client().read_json(bounds) == {}
    first.request.outcome.cleanup.close()
    await Peer(large).client().read_json(bounds)


async def test_a_body_that_does_not_come() -> None:
    with pytest.raises(ClientTimeout):
        await Peer(body(b"{", True)).client(timeout_s=0.01).read_json(BodyBounds(100))


async def test_leaving_while_the_body_is_read() -> None:
    peer = Peer(body(b"{", True))
    peer.gone.set()
    with pytest.raises(ClientGone):
        await peer.client().read_json(BodyBounds(100))


async def watch(client: Client, work: Any) -> None:
    with client.watched():
        await work


async def test_leaving_ends_the_work() -> None:
    peer = Peer()
    asyncio.get_running_loop().call_soon(peer.gone.set)
    with pytest.raises(ClientGone) as gone:
        await watch(peer.client(), asyncio.Event().wait())
    assert gone.value.reason == "client_gone"


async def test_not_taking_a_piece_for_too_long_ends_the_work() -> None:
    peer = Peer()
    client = peer.client(timeout_s=0.01)
    with pytest.raises(ClientGone) as gone:
        await watch(client, client.send({"type": "http.response.body"}))
    assert gone.value.reason == "client_stalled"


async def test_a_cancellation_from_elsewhere_stays_one() -> None:
    task = asyncio.create_task(watch(Peer().client(), asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nothing_is_left_when_the_work_is_done() -> None:
    await watch(Peer().client(), asyncio.sleep(0))
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


JSON = st.recursive(
    st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)
)


def depth(value: Any) -> int:
    """The definition, slowly."""
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)


@given(JSON.filter(lambda value: isinstance(value, dict | list)), st.integers(1, 6))
def test_depth_is_measured(value: Any, levels: int) -> None:
    assert is_deeper(value, levels) == (depth(value) > levels)


async def test_a_watched_request_leaves_memory_when_it_ends() -> None:
    """Its body may be large, and the next collection of garbage late."""
    peer = Peer()
    client = peer.client()
    gone = weakref.ref(client)
    gc.disable()
    try:

        async def handle(client: Client) -> None:
            with client.watched():
                await asyncio.sleep(0)

        task = asyncio.create_task(handle(client))
        del client
        await task
        del task
        # the watcher ends in the next turns of the loop
        for _ in range(3):
            await asyncio.sleep(0)
        assert gone() is None
    finally:
        gc.enable()
