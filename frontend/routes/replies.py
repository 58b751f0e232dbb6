"""From a run's events to a reply, whole or streamed: what every generating route shares."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import TypeVar

from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.http.failures import render_event
from frontend.http.ndjson import send_lines
from frontend.http.sse import send_stream

T = TypeVar("T")
Pieces = AsyncGenerator[bytes, None]


async def collect(groups: AsyncGenerator[T, None], add: Callable[[T], object]) -> None:
    """Hands every group of events to `add`."""
    # closed when `add` raises, too: that ends the engine's request
    async with aclosing(groups):
        async for group in groups:
            add(group)


async def stream(
    groups: AsyncGenerator[T, None],
    chunk: Callable[[T], bytes],
    last: Callable[[], bytes] = bytes,
    first: Callable[[], bytes] = bytes,
) -> Pieces:
    """The pieces of a streamed reply. `first` is sent with the first group of events, so that a
    failure before it is still an error response."""
    started = False
    async with aclosing(groups):
        async for group in groups:
            start = b"" if started else first()
            started = True
            yield start + chunk(group)
    yield last()


async def send_events(request: Request, client: Client, pieces: Pieces, heartbeat_s: float) -> None:
    """Sends server-sent events; a failure is the last one, in the request's dialect."""
    failure = partial(render_event, outcome=request.outcome)
    await send_stream(client.send, pieces, heartbeat_s, failure)


async def send_ndjson(request: Request, client: Client, lines: Pieces) -> None:
    """Sends lines of JSON; a failure is the last one, in the request's dialect."""
    await send_lines(client.send, lines, partial(render_event, outcome=request.outcome))
