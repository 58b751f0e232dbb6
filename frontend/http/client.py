"""The client of one request: its body, the responses to it, and its disconnection.

A client that disconnects, or stops reading for too long, ends the work that is done for it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from frontend.domain.request import Request
from frontend.http.body import BodyBounds, BodyReader, ClientGone
from frontend.http.send import send_bytes


class Client:
    """One request's client. `timeout_s` is how long it may take to send, or to take a piece."""

    def __init__(
        self, request: Request, scope: Scope, receive: Receive, send: Send, timeout_s: float
    ) -> None:
        self.scope = scope
        self._body = BodyReader(request, scope, receive, timeout_s)
        self._receive = receive
        self._send = send
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()  # not for each message: it costs a system call
        self._sending_since_s: float | None = None
        self._gone: str | None = None

    async def read_json(self, bounds: BodyBounds) -> Any:
        """The body, parsed. Raises ClientGone if the client disconnects, and GatewayError for a
        body that is refused."""
        return await self._body.read_json(bounds)

    def read_parts(self, max_bytes: int) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises as `read_json` does."""
        return self._body.read_parts(max_bytes)

    async def discard(self, max_bytes: int) -> None:
        """Reads a body that is not used, so that its sender gets the answer."""
        await self._body.discard(max_bytes)

    async def respond(
        self,
        body: bytes,
        *,
        status: int = 200,
        headers: Iterable[tuple[bytes, bytes]] = (),
        kind: bytes = b"application/json",
    ) -> None:
        """Sends one whole response."""
        await send_bytes(self.send, body, status=status, headers=headers, kind=kind)

    async def send(self, message: Message) -> None:
        """Passes a message on, and notes since when the client has not read it."""
        self._sending_since_s = self._loop.time()
        await self._send(message)
        # not in `finally`: a send that failed has no next one, and its client is gone
        self._sending_since_s = None

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Cancels the block when the client goes away or stalls. Raises ClientGone then."""
        task = asyncio.current_task()
        assert task is not None
        watch = _Watch(self, task)
        watch.start()
        try:
            yield
        except asyncio.CancelledError:
            # cancelled by somebody else, such as the server's end: not ours to turn into ClientGone
            if self._gone is None:
                raise
            # else the next `timeout()` in this task would take the cancellation for its own
            task.uncancel()
            raise ClientGone(self._gone) from None
        finally:
            watch.stop()


class _Watch:
    """Cancels the task of a client that goes away or stalls.

    It refers to its timer, which refers to it, only while it runs: everything that belongs to a
    request would otherwise stay in memory until the next collection of garbage.
    """

    __slots__ = ("_client", "_task", "_timer", "_watcher")

    def __init__(self, client: Client, task: "asyncio.Task[Any]") -> None:
        self._client, self._task = client, task
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to watch."""
        self._check()
        self._watcher = self._client._loop.create_task(self._watch())

    def stop(self) -> None:
        """Ends the timer and its task."""
        if self._watcher is not None:
            self._watcher.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._watcher = self._timer = None

    def _end(self, reason: str) -> None:
        self._client._gone = reason
        # the handler's task: this runs in the watcher's, or in a timer
        self._task.cancel()

    async def _watch(self) -> None:
        while (await self._client._receive())["type"] != "http.disconnect":
            pass
        self._end("client_gone")

    def _check(self) -> None:
        client = self._client
        since_s, limit_s = client._sending_since_s, client._timeout_s
        if since_s is not None and client._loop.time() - since_s > limit_s:
            self._end("client_stalled")
        else:
            # half of it, so that a stall is noticed after 1 to 1.5 times the limit
            self._timer = client._loop.call_later(limit_s / 2, self._check)
