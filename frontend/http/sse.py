"""Server-sent events: whole events only, no silent end, and a comment while it waits.

The head of a stream goes out with its first bytes, so that a failure before them is an ordinary
error response. A failure after them is an event of its own, then the stream closes.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass

from starlette.types import Send

_TIMER_STEP_S = 0.002  # the event loop rounds to milliseconds
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What is sent after this many seconds without an event: a comment, which clients skip.

    Proxies and load balancers cut connections that are silent.
    """

    after_s: float
    render: Callable[[], bytes] = lambda: b": waiting\n\n"


async def send_stream(
    send: Send,
    pieces: AsyncGenerator[bytes, None],
    heartbeat: Heartbeat,
    render_failure: Callable[[Exception], bytes],
) -> None:
    """Sends every piece, and a heartbeat whenever none came for long."""
    stream = EventStream(send, heartbeat)
    with stream.alive():
        # closed here, not by the garbage collector: closing cancels the engine's request
        async with contextlib.aclosing(pieces):
            try:
                async for piece in pieces:
                    if piece:
                        await stream.write(piece)
            except Exception as error:  # whatever it is, the client must get an error
                if not stream.started:
                    raise
                await stream.write(render_failure(error))
    await send({"type": "http.response.body", "body": b""})


class EventStream:
    """The writing side of one stream: one write at a time, in order."""

    def __init__(self, send: Send, heartbeat: Heartbeat) -> None:
        self._send = send
        self._heartbeat = heartbeat
        self._loop = asyncio.get_running_loop()
        self._written_s = self._loop.time()
        self._writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._beat: asyncio.Task[None] | None = None
        self.started = False

    async def write(self, data: bytes) -> None:
        """Sends whole events, after a heartbeat that is under way. Waits for a slow client."""
        # two writes at once could mix the bytes of two events
        if self._beat is not None:
            await self._beat
            self._beat = None
        await self._write(data)

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Sends a comment whenever nothing was sent for long, until the block ends."""
        self._check()
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._beat is not None:
                # cancelled, not awaited: a client that does not read would hold up the end
                self._beat.cancel()

    def _check(self) -> None:
        """Sends a heartbeat when it is time for one, and checks again when it may be."""
        now_s = self._loop.time()
        due_s = self._written_s + self._heartbeat.after_s
        if due_s - now_s < _TIMER_STEP_S:
            due_s = now_s + self._heartbeat.after_s
            if not self._writing:  # a client that does not read has enough
                self._writing = True
                self._beat = self._loop.create_task(self._write(self._heartbeat.render()))
        # one timer per stream and not one per event: an event only writes down its time
        self._timer = self._loop.call_at(due_s, self._check)

    async def _write(self, data: bytes) -> None:
        self._writing = True
        if not self.started:
            self.started = True
            # a copy: the middleware adds its own headers to the list
            head = {"type": "http.response.start", "status": 200, "headers": list(_HEADERS)}
            await self._send(head)
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._written_s = self._loop.time()
        self._writing = False
