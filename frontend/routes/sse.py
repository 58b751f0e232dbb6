"""Server-sent events: whole events only, never an end in silence, a sign of life while it waits.

The head of a stream goes out with its first bytes, so that a failure before them is an ordinary
error response. A failure after them is an event of its own, then the stream closes. Events that
come faster than `GATHER_S` share a write: most of what a chunk costs is the kernel's.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator

from starlette.types import Send

from frontend.dialects.openai.failures import render_stream_error
from frontend.errors import GatewayError
from frontend.routes.trace import current

# a comment, which clients skip; proxies and load balancers cut connections that are silent
HEARTBEAT = b": waiting\n\n"
GATHER_S = 0.005
_GATHERED_BYTES = 32 * 1024
_log = logging.getLogger(__name__)
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


async def send_stream(send: Send, pieces: AsyncIterator[bytes], heartbeat_s: float) -> None:
    """Sends every piece, and a comment whenever none came for `heartbeat_s`."""
    stream = EventStream(send, heartbeat_s)
    with stream.alive():
        async with contextlib.aclosing(pieces):  # type: ignore[type-var]
            try:
                async for piece in pieces:
                    await stream.write(piece)
            except Exception as error:  # the client must hear of it, whatever it is
                if not stream.started:
                    raise
                await stream.write(render_stream_error(_told(error)))
        await stream.end()


class EventStream:
    """The writing side of one stream: everything in order, one write at a time."""

    def __init__(self, send: Send, heartbeat_s: float) -> None:
        self._send = send
        self._heartbeat_s = heartbeat_s
        self._loop = asyncio.get_running_loop()
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._written_s = self._loop.time()
        self._writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self.started = False

    async def write(self, data: bytes) -> None:
        """Takes whole events: the first go out at once, others at most `GATHER_S` later.

        Waits for a client that does not keep up.
        """
        if not data:
            return
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        due_s = self._written_s + GATHER_S
        late = self._loop.time() >= due_s or self._gathered_bytes > _GATHERED_BYTES
        if late or not self.started:
            await self._flush()
        elif len(self._gathered) == 1:
            self._wake_at(due_s)

    async def end(self) -> None:
        """Sends what is left, and the end."""
        await self._finish_task()
        await self._write(more=False)

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Writes from a timer while the block runs: what was gathered, or a heartbeat."""
        self._wake_at(self._written_s + self._heartbeat_s)
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._task is not None:
                self._task.cancel()

    def _wake_at(self, when_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when_s, self._wake)

    def _wake(self) -> None:
        now_s = self._loop.time()
        if not self._gathered and now_s - self._written_s >= self._heartbeat_s * 0.99:
            self._gathered.append(HEARTBEAT)
        if self._gathered and not self._writing:
            self._task = self._loop.create_task(self._write_gathered())
        # timers are rounded, and a client that does not read is asked less often
        self._wake_at(max(self._written_s + self._heartbeat_s, now_s + self._heartbeat_s / 10))

    async def _flush(self) -> None:
        await self._finish_task()
        await self._write_gathered()

    async def _finish_task(self) -> None:
        if self._task is not None:
            await self._task
            self._task = None

    async def _write_gathered(self) -> None:
        while self._gathered:  # more may come while the client takes its time
            await self._write()

    async def _write(self, *, more: bool = True) -> None:
        data = b"".join(self._gathered)
        self._gathered.clear()
        self._gathered_bytes = 0
        self._written_s = self._loop.time()
        self._writing = True
        if not self.started:
            self.started = True
            head = {"type": "http.response.start", "status": 200, "headers": list(_HEADERS)}
            await self._send(head)
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        self._writing = False


def _told(error: Exception) -> GatewayError:
    trace = current()
    if not isinstance(error, GatewayError):
        _log.exception("request %s", trace.id, exc_info=error)
        error = GatewayError(f"the gateway failed; the operator finds why as {trace.id}")
    trace.error = error.code or error.type
    return error
