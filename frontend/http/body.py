"""Reads a request's body, within bounds of size, shape, memory and time, as JSON."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.types import Message, Receive, Scope

from frontend.budget import Budget, Hold
from frontend.domain.request import Dialect, Request
from frontend.errors import ClientTimeout, InvalidRequest, Overloaded, TooLarge, UnsupportedMedia
from frontend.http.json_values import ValueCount

# code that walks values recurses; orjson itself stops only at 1,024 levels
MAX_DEPTH = 64
_SMALL = 65_536
"""Bytes of a body that needs no place in the budget."""
_VALUE = 48
"""Approximate bytes of memory of a parsed value."""


@dataclass(frozen=True, slots=True)
class BodyBounds:
    """The largest body of a route, in bytes, in JSON values, and in objects and lists.

    A body larger than `_SMALL` waits for its place in the budget.
    """

    size_bytes: int
    values: int = 300_000
    containers: int = 20_000
    budget: Budget | None = None


class ClientGone(Exception):
    """The client does not wait for the answer any more, so there is nothing to send."""

    def __init__(self, reason: str = "client_gone") -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class BodyReader:
    """Reads the body of one request. `timeout_s` is how long it may take to arrive."""

    request: Request
    scope: Scope
    receive: Receive
    timeout_s: float

    async def read_json(self, bounds: BodyBounds) -> Any:
        """The body, parsed. Raises ClientGone if the client
        disconnects, and GatewayError for a body that is refused."""
        self._check_headers(bounds.size_bytes)
        # counted before it is parsed: orjson holds the interpreter's lock, 3.5 s for 18 MB of `[]`
        body, values = await self._read(bounds)
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise InvalidRequest(f"the request body is not valid JSON: {error}") from None
        # counting brackets is cheap, and most bodies are too flat to need the walk
        brackets = values or body.count(b"{") + body.count(b"[")
        if brackets > MAX_DEPTH and is_deeper(value, MAX_DEPTH):
            raise InvalidRequest(f"the request body is nested deeper than {MAX_DEPTH} levels")
        return value

    async def read_parts(self, max_bytes: int) -> AsyncIterator[bytes]:
        """The body as it arrives, each part within the time for a whole body.

        Raises ClientGone if the client
        disconnects, and GatewayError for a body that is refused.
        """
        for name, value in self.scope["headers"]:
            if name == b"content-encoding" and value.lower() != b"identity":
                raise _encoded()
            if name == b"content-length" and int(value) > max_bytes:
                raise _too_large(max_bytes)
        more, left = True, max_bytes
        loop = asyncio.get_running_loop()
        while more:
            message = await self._next_part(
                loop.time() + max(0.0, min(self.timeout_s, self.request.left_s))
            )
            part = message.get("body", b"")
            more = message.get("more_body", False)
            if (capture := self.request.outcome.capture) is not None:
                capture.read(part, is_text=False)
            left -= len(part)
            if left < 0:
                raise _too_large(max_bytes)
            yield part

    async def discard(self, max_bytes: int) -> None:
        """Reads a body that is not used, so that its sender gets the answer."""
        try:
            async with asyncio.timeout(self.timeout_s):
                while (message := await self.receive())["type"] != "http.disconnect":
                    max_bytes -= len(message.get("body", b""))
                    if max_bytes < 0 or not message.get("more_body", False):
                        return
        except TimeoutError:
            return

    def _check_headers(self, max_bytes: int) -> None:
        # a web page may post plain text, forms, and what has no type without being asked first
        is_page, kinds = False, []
        for name, value in self.scope["headers"]:
            if name == b"content-type":
                kinds.append(value)
            elif name == b"origin":
                is_page = True
            elif name == b"content-encoding" and value.lower() != b"identity":
                raise _encoded()
            elif name == b"content-length" and int(value) > max_bytes:
                raise _too_large(max_bytes)
        # Ollama reads JSON whatever a client calls its body, and its examples rely on that
        if is_page or self.request.dialect is not Dialect.OLLAMA:
            for kind in kinds or ([b""] if is_page else []):
                _check_kind(kind, is_page)

    async def _read(self, bounds: BodyBounds) -> tuple[bytearray, int]:
        """The body, and its values where they were counted: where it is large enough for many."""
        body, more, count, counted = bytearray(), True, ValueCount(), 0
        # held until the request ends: what was parsed lives as long as it
        hold: Hold | None = None
        deadline_s = asyncio.get_running_loop().time() + self.timeout_s
        while more:
            message = await self._next_part(deadline_s)
            body += message.get("body", b"")
            if (capture := self.request.outcome.capture) is not None:
                capture.read(message.get("body", b""))
            more = message.get("more_body", False)
            if len(body) > bounds.size_bytes:
                raise _too_large(bounds.size_bytes)
            # small bodies pay nothing for the budget: they are most of the requests
            if len(body) > _SMALL and hold is None and bounds.budget is not None:
                hold = await self._hold(bounds)
                # the wait was the gateway's doing, not the client's
                deadline_s = asyncio.get_running_loop().time() + self.timeout_s
            if len(body) > min(_SMALL, bounds.values, bounds.containers):  # else too few fit
                # a view, so that the part is copied once and not the whole body each time
                count.add(bytes(memoryview(body)[counted:]))
                counted = len(body)
            if count.total > bounds.values:
                raise _too_many(f"{bounds.values} JSON values")
            if count.containers > bounds.containers:
                raise _too_many(f"{bounds.containers} JSON objects and lists")
        if hold is not None:
            # its true size: a chunked body took the route's maximum
            hold.resize(len(body) + _VALUE * count.total)
        return body, count.total

    async def _next_part(self, deadline_s: float) -> Message:
        try:
            async with asyncio.timeout_at(deadline_s):
                message = await self.receive()
        except TimeoutError:
            raise ClientTimeout("the request body did not arrive in time") from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message

    async def _hold(self, bounds: BodyBounds) -> Hold:
        """The memory for a body of the length that its head says, until the request's end."""
        assert bounds.budget is not None
        lengths = [value for name, value in self.scope["headers"] if name == b"content-length"]
        # a larger length was refused by its head; a chunked body may need the route's maximum
        size = int(lengths[0]) if lengths else bounds.size_bytes
        try:
            async with asyncio.timeout(self.timeout_s):
                hold = await bounds.budget.take(self.request.user, size)
        except TimeoutError:
            raise Overloaded("too many large requests are running; try again later") from None
        self.request.outcome.cleanup.callback(hold.release)
        return hold


def _encoded() -> UnsupportedMedia:
    return UnsupportedMedia("send the body without a content encoding", param="content-encoding")


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the request body is larger than {max_bytes} bytes", param="body")


def _check_kind(value: bytes, is_page: bool) -> None:
    kind = value.partition(b";")[0].strip().lower()
    if kind != b"application/json" and (kind or is_page):
        shown = kind[:60].decode("latin-1")
        raise UnsupportedMedia(f"send 'application/json', not '{shown}'", param="content-type")


def _too_many(what: str) -> InvalidRequest:
    return InvalidRequest(
        f"the request body has more than {what}; send a smaller request",
        param="body",
        code="request_too_large",
    )


def is_deeper(value: object, levels: int) -> bool:
    """Whether objects and lists nest deeper than that many levels."""
    # level by level, because a recursive walk could be made to overflow the stack
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
