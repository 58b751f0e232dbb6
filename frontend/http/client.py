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
        """The body, parsed. Raises ClientGone, and GatewayError for a body that is refused."""
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
        task, loop = asyncio.current_task(), self._loop
        timer: asyncio.TimerHandle | None = None
        assert task is not None

        def end(reason: str) -> None:
            self._gone = reason
            # the handler's task, captured above: this runs in the watcher's, or in a timer
            task.cancel()

        async def watch() -> None:
            while (await self._receive())["type"] != "http.disconnect":
                pass
            end("client_gone")

        def check() -> None:
            nonlocal timer
            since_s = self._sending_since_s
            if since_s is not None and loop.time() - since_s > self._timeout_s:
                end("client_stalled")
            else:
                # half of it, so that a stall is noticed after 1 to 1.5 times the limit
                timer = loop.call_later(self._timeout_s / 2, check)

        check()
        watcher = loop.create_task(watch())
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
            watcher.cancel()
            if timer is not None:
                timer.cancel()
