"""From a run's events to a reply, whole or streamed: what every generating route shares."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import TypeVar

from frontend.domain.request import Dialect, Request
from frontend.http.client import Client
from frontend.http.failures import render_event
from frontend.http.ndjson import send_lines
from frontend.http.sse import Heartbeat, send_stream

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
    last: Callable[[], bytes] | None = None,
    first: Callable[[], bytes] | None = None,
) -> Pieces:
    """The pieces of a streamed reply. `first` is sent with the first group of events, so that a
    failure before it is still an error response."""
    async with aclosing(groups):
        async for group in groups:
            start = b"" if first is None else first()
            first = None
            yield start + chunk(group)
    if last is not None:
        yield last()


async def send_events(request: Request, client: Client, pieces: Pieces, heartbeat_s: float) -> None:
    """Sends server-sent events; a failure is the last one, in the request's dialect."""
    failure = partial(render_event, outcome=request.outcome)
    await send_stream(client.send, pieces, heartbeat_of(request, heartbeat_s), failure)


def heartbeat_of(request: Request, after_s: float) -> Heartbeat:
    """The comment that a stream sends while it has no event: the place in the queue."""
    return Heartbeat(after_s, partial(_render_heartbeat, request))


def _render_heartbeat(request: Request) -> bytes:
    place = request.outcome.place()
    comment = ": waiting"
    if place is not None:
        comment += f"; position {place.position} in the queue, about {place.wait_s:.0f} s"
    # an event of Anthropic's API, which passes proxies that drop comments
    ping = 'event: ping\ndata: {"type": "ping"}\n' if request.dialect is Dialect.ANTHROPIC else ""
    return f"{comment}\n{ping}\n".encode()


async def send_ndjson(request: Request, client: Client, lines: Pieces) -> None:
    """Sends lines of JSON; a failure is the last one, in the request's dialect."""
    await send_lines(client.send, lines, partial(render_event, outcome=request.outcome))
