"""The other end of a request: its body within bounds of size and time, and its going away.

A client that leaves, or stops reading for too long, ends the work that is done for it.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import orjson
from starlette.types import Message, Receive, Scope, Send

from frontend.errors import ClientTimeout, InvalidRequest, TooLarge, UnsupportedMedia

MAX_DEPTH = 64


class ClientGone(Exception):
    """Nobody waits for the answer any more. Not an error: nobody is told."""

    def __init__(self, reason: str = "client_gone") -> None:
        super().__init__(reason)
        self.reason = reason


class Client:
    """One request's client. `timeout_s` is how long it may take to send, or to take a piece."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        timeout_s: float,
        *,
        any_type: bool = False,
    ) -> None:
        """`any_type`: the body is JSON whatever the header says, unless a web page sent it."""
        self._any_type = any_type
        self._scope = scope
        self._receive = receive
        self._send = send
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()  # not for each message: it costs a system call
        self._sending_since_s: float | None = None
        self._gone: str | None = None

    async def read_json(self, max_bytes: int) -> Any:
        """The body, parsed. Raises ClientGone, and GatewayError for a body that is not taken."""
        self._check_headers()
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await self._read(max_bytes)
        except TimeoutError:
            raise ClientTimeout("the request body did not come in time") from None
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise InvalidRequest(f"the request body is not valid JSON: {error}") from None
        # counting brackets is cheap, and most bodies are too flat to need the walk
        if body.count(b"{") + body.count(b"[") > MAX_DEPTH and is_deeper(value, MAX_DEPTH):
            raise InvalidRequest(f"the request body is nested deeper than {MAX_DEPTH} levels")
        return value

    async def discard(self, max_bytes: int) -> None:
        """Reads a body that nobody wants, so that its sender hears the answer."""
        try:
            async with asyncio.timeout(self._timeout_s):
                while (message := await self._receive())["type"] != "http.disconnect":
                    max_bytes -= len(message.get("body", b""))
                    if max_bytes < 0 or not message.get("more_body", False):
                        return
        except TimeoutError:
            return

    def _check_headers(self) -> None:
        # a web page may post plain text, forms, and what has no type without being asked first
        is_page, kinds = False, []
        for name, value in self._scope["headers"]:
            if name == b"content-type":
                kinds.append(value)
            elif name == b"origin":
                is_page = True
            elif name == b"content-encoding" and value.lower() != b"identity":
                raise UnsupportedMedia(
                    "send the body without a content encoding", param="content-encoding"
                )
        if is_page or not self._any_type:
            for kind in kinds or ([b""] if is_page else []):
                _check_kind(kind, is_page)

    async def _read(self, max_bytes: int) -> bytes:
        parts, size, more = [], 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > max_bytes:
                raise TooLarge(f"the request body is larger than {max_bytes} bytes")
            parts.append(part)
            more = message.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def send(self, message: Message) -> None:
        """Passes a message on, and notes since when the client has not taken it."""
        self._sending_since_s = self._loop.time()
        await self._send(message)
        self._sending_since_s = None

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Cancels the block when the client goes away or stalls. Raises ClientGone then."""
        task, loop = asyncio.current_task(), self._loop
        timer: asyncio.TimerHandle | None = None
        assert task is not None

        def leave(reason: str) -> None:
            self._gone = reason
            task.cancel()

        async def watch() -> None:
            while (await self._receive())["type"] != "http.disconnect":
                pass
            leave("client_gone")

        def look() -> None:
            nonlocal timer
            since_s = self._sending_since_s
            if since_s is not None and loop.time() - since_s > self._timeout_s:
                leave("client_stalled")
            else:
                timer = loop.call_later(self._timeout_s / 2, look)

        look()
        watcher = loop.create_task(watch())
        try:
            yield
        except asyncio.CancelledError:
            if self._gone is None:
                raise
            task.uncancel()
            raise ClientGone(self._gone) from None
        finally:
            watcher.cancel()
            if timer is not None:
                timer.cancel()


def _check_kind(value: bytes, is_page: bool) -> None:
    kind = value.partition(b";")[0].strip().lower()
    if kind != b"application/json" and (kind or is_page):
        shown = kind[:60].decode("latin-1")
        raise UnsupportedMedia(f"send 'application/json', not '{shown}'", param="content-type")


def is_deeper(value: object, levels: int) -> bool:
    """Whether objects and lists nest deeper than that many levels."""
    level = [value]
    for _ in range(levels):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)  # type: ignore[attr-defined]
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
