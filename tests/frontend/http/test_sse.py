"""Streams: whole events in order, keep-alive comments while idle, and a reported end."""

import asyncio
from collections.abc import AsyncGenerator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from frontend.errors import BackendFailed
from frontend.http.sse import Heartbeat, send_stream

HEARTBEAT = b": waiting\n\n"


class Browser:
    """An ASGI server's end: keeps what it is sent, and may stop taking it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.got_one = asyncio.Event()

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.messages.append(message)
        self.got_one.set()

    @property
    def bodies(self) -> list[bytes]:
        """The body of each message after the head, which must come first and once."""
        head, *others = self.messages
        assert (head["type"], head["status"]) == ("http.response.start", 200)
        assert {one["type"] for one in others} == {"http.response.body"}
        assert [one.get("more_body", False) for one in others] == [True] * (len(others) - 1) + [
            False
        ]
        return [one["body"] for one in others]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until what came satisfies the condition."""
        async with asyncio.timeout(60):
            while not condition():
                self.got_one.clear()
                await self.got_one.wait()


async def pieces(*given: bytes | Exception | asyncio.Event) -> AsyncGenerator[bytes, None]:
    """Yields bytes, raises exceptions, waits for events."""
    for one in given:
        if isinstance(one, Exception):
            raise one
        if isinstance(one, asyncio.Event):
            await one.wait()
        else:
            yield one


def failed(error: Exception) -> bytes:
    """What the client receives."""
    return f"data: {error}\n\n".encode()


async def wait(number: int, turns: list[int]) -> None:
    for _ in range(turns[number % len(turns)] if turns else 0):
        await asyncio.sleep(0)


@given(
    st.lists(st.binary(max_size=20)).filter(any),
    st.lists(st.integers(0, 3), max_size=5),
    st.booleans(),
)
def test_every_byte_arrives_in_order(sent: list[bytes], turns: list[int], slow: bool) -> None:
    async def paced() -> AsyncGenerator[bytes, None]:
        for number, piece in enumerate(sent):
            await wait(number, turns)
            yield piece

    async def run() -> None:
        browser = Browser()
        if slow:
            browser.reads.clear()
            asyncio.get_running_loop().call_later(0.001, browser.reads.set)
        await send_stream(browser.send, paced(), Heartbeat(60), failed)
        assert b"".join(browser.bodies) == b"".join(sent)

    asyncio.run(run())


@pytest.mark.parametrize("before", [(), (b"data: 1\n\n",)])
async def test_a_silent_stream_shows_that_it_lives(before: tuple[bytes, ...]) -> None:
    browser, more = Browser(), asyncio.Event()
    source = pieces(*before, more, b"data: 2\n\n")
    task = asyncio.create_task(send_stream(browser.send, source, Heartbeat(0.01), failed))
    await browser.until(lambda: sum(m.get("body") == HEARTBEAT for m in browser.messages) > 1)
    more.set()
    await task
    whole = b"".join(browser.bodies)
    assert whole.replace(HEARTBEAT, b"") == b"".join(before) + b"data: 2\n\n"


async def test_a_client_that_does_not_read_holds_the_source_back() -> None:
    browser, taken = Browser(), 0

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 1024
            await asyncio.sleep(0)

    browser.reads.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await send_stream(browser.send, endless(), Heartbeat(0.01), failed)
    assert taken == 1
    assert len(asyncio.all_tasks()) == 1


async def test_a_failure_before_the_first_event_is_the_callers() -> None:
    browser = Browser()
    with pytest.raises(BackendFailed):
        await send_stream(browser.send, pieces(BackendFailed("no")), Heartbeat(60), failed)
    assert browser.messages == []


@pytest.mark.parametrize("error", [BackendFailed("no"), RuntimeError("no")])
async def test_a_failure_after_it_is_an_event(error: Exception) -> None:
    browser = Browser()
    await send_stream(browser.send, pieces(b"data: 1\n\n", error), Heartbeat(60), failed)
    assert b"".join(browser.bodies) == b"data: 1\n\ndata: no\n\n"


async def test_a_failure_after_a_heartbeat_is_an_event_as_well() -> None:
    browser, more = Browser(), asyncio.Event()
    source = pieces(more, BackendFailed("no"))
    task = asyncio.create_task(send_stream(browser.send, source, Heartbeat(0.01), failed))
    await browser.until(lambda: len(browser.messages) > 1)
    more.set()
    await task
    assert b"data: no" in b"".join(browser.bodies)


async def test_being_cancelled_leaves_nothing_behind() -> None:
    browser = Browser()
    source = pieces(b"a", b"b", asyncio.Event())
    task = asyncio.create_task(send_stream(browser.send, source, Heartbeat(0.001), failed))
    await browser.until(lambda: len(browser.messages) == 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}
