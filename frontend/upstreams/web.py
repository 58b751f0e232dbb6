"""HTTP to one upstream: JSON requests, and answers that are read whole or line by line.

Connections are kept and reused. Heads, bodies, lines and time are bounded; redirects are refused,
because they would carry the key elsewhere; compressed answers are not asked for. The address of
the host is checked and then connected to, so that a second look-up cannot answer differently.
"""

import asyncio
import ipaddress
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import h11
import orjson

from frontend.address import Address, Server
from frontend.domain.trace import Headers
from frontend.errors import BackendFailed, BackendTimeout, Overloaded, UpstreamLost
from frontend.reach import resolve
from frontend.upstreams.protocol import Call

_CHUNK = 65_536
_MAX_HEAD = 32_768
_MAX_BODY = 256 * 2**20
_MAX_LINE = 32 * 2**20
_CONNECT_S = 5.0
_MAX_IDLE = 32
_IDLE_S = 4.0
"""uvicorn, which most engines run, closes an idle connection after 5 s."""
_LOST = "the model server is not available now; try again soon"


class Refused(Exception):
    """An answer with an error status; `body` is its JSON, or None."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@dataclass(slots=True, eq=False)
class _Link:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    http: h11.Connection
    idle_since_s: float = 0.0
    used: bool = False

    def end(self) -> None:
        self.writer.transport.abort()


@dataclass(frozen=True, slots=True)
class _Ask:
    method: str
    path: str
    body: Any = None
    headers: Headers = ()


@dataclass(slots=True)
class Web:
    """`headers` are sent with every request; `allows` says which addresses may be connected to."""

    server: Server
    headers: Mapping[str, str]
    allows: Callable[[Address], bool]
    tls: ssl.SSLContext | None = None
    _idle: list[_Link] = field(default_factory=list)
    _busy: set[_Link] = field(default_factory=set)
    _abandoned: bool = False

    async def read(self, method: str, path: str, body: Any = None, timeout_s: float = 10.0) -> Any:
        """The JSON of a whole answer. Raises Refused, GatewayError."""
        return await self._read(_Ask(method, path, body), timeout_s)

    async def post(self, path: str, body: Any, call: Call) -> Any:
        """The JSON of the whole answer to a call. Raises Refused, GatewayError."""
        return await self._read(_Ask("POST", path, body, call.headers), call.timeout_s)

    async def _read(self, ask: _Ask, timeout_s: float) -> Any:
        pieces: list[bytes] = []
        async with aclosing(self._parts(ask, timeout_s, _MAX_BODY)) as parts:
            async for part in parts:
                pieces.append(part)
        try:
            return orjson.loads(b"".join(pieces))
        except orjson.JSONDecodeError:
            raise BackendFailed("the model server sent an answer that is not valid JSON") from None

    async def text(self, path: str, timeout_s: float, most: int) -> str:
        """The text of an answer of at most `most` bytes. Raises Refused, GatewayError."""
        async with aclosing(self._parts(_Ask("GET", path), timeout_s, most)) as parts:
            return b"".join([part async for part in parts]).decode(errors="replace")

    async def lines(self, path: str, body: Any, call: Call) -> AsyncGenerator[bytes, None]:
        """The lines of an answer as they come, without empty ones. Raises Refused, GatewayError."""
        left, ask = b"", _Ask("POST", path, body, call.headers)
        async with aclosing(self._parts(ask, call.timeout_s, None)) as parts:
            async for part in parts:
                *lines, left = (left + part).split(b"\n")
                if len(left) > _MAX_LINE:
                    raise BackendFailed("the model server sent a line that is too long")
                for line in lines:
                    if stripped := line.rstrip(b"\r"):
                        yield stripped
        if left.strip():
            yield left.rstrip(b"\r")

    async def _parts(
        self, ask: _Ask, timeout_s: float, most: int | None
    ) -> AsyncGenerator[bytes, None]:
        ends_s = asyncio.get_running_loop().time() + timeout_s
        link, whole = None, False
        try:
            link, response = await self._begin(ask, ends_s)
            if response.status_code >= 300:
                raise await self._refused(link, response.status_code, ends_s)
            size = 0
            while isinstance(event := await _event(link, ends_s), h11.Data):
                size += len(event.data)
                if most is not None and size > most:
                    raise BackendFailed("the model server sent an answer that is too large")
                yield bytes(event.data)
            whole = isinstance(event, h11.EndOfMessage)
            if not whole:
                raise UpstreamLost(_LOST)
        except TimeoutError:
            text = "the request took longer than the server allows"
            raise BackendTimeout(text) from None
        except (OSError, h11.ProtocolError, EOFError):
            if self._abandoned:
                text = "the server is shutting down; send the request again"
                raise Overloaded(text, code="draining") from None
            raise UpstreamLost(_LOST) from None
        finally:
            if link is not None:
                self._finish(link, whole=whole)

    async def _begin(self, ask: _Ask, ends_s: float) -> tuple[_Link, h11.Response]:
        """Sends a request and reads the head of its answer."""
        while True:
            link = await self._link(ends_s)
            self._busy.add(link)
            try:
                return link, await self._exchange(link, ask, ends_s)
            except (OSError, h11.ProtocolError, EOFError):
                self._finish(link, whole=False)
                # a server may close a kept connection in the moment in which it is used again
                if not link.used or self._abandoned:
                    raise
            except BaseException:
                self._finish(link, whole=False)
                raise

    async def _exchange(self, link: _Link, ask: _Ask, ends_s: float) -> h11.Response:
        body = ask.body
        data = b"" if body is None else orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
        headers = [
            ("host", self.server.authority),
            ("user-agent", "triton-toolkit"),
            ("accept-encoding", "identity"),
            *self.headers.items(),
            *ask.headers,
        ]
        if body is not None:
            headers += [("content-type", "application/json"), ("content-length", str(len(data)))]
        target = self.server.path + ask.path
        sent = link.http.send(h11.Request(method=ask.method, target=target, headers=headers))
        link.writer.write((sent or b"") + data)
        if data:
            link.http.send(h11.Data(data=data))
        link.http.send(h11.EndOfMessage())
        async with asyncio.timeout_at(ends_s):
            await link.writer.drain()
        response = await _event(link, ends_s)
        while isinstance(response, h11.InformationalResponse):
            response = await _event(link, ends_s)
        if not isinstance(response, h11.Response):
            raise EOFError
        return response

    async def _refused(self, link: _Link, status: int, ends_s: float) -> Exception:
        if status < 400:
            return BackendFailed("the model server redirects requests, which is not followed")
        pieces, size = [], 0
        while isinstance(event := await _event(link, ends_s), h11.Data) and size < _CHUNK:
            pieces.append(bytes(event.data))
            size += len(event.data)
        try:
            return Refused(status, orjson.loads(b"".join(pieces)))
        except orjson.JSONDecodeError:
            return Refused(status, None)

    async def _link(self, ends_s: float) -> _Link:
        if self._abandoned:
            raise OSError
        while self._idle:
            link = self._idle.pop()
            is_fresh = time.monotonic() - link.idle_since_s < _IDLE_S
            if is_fresh and not link.reader.at_eof():
                link.used = True
                return link
            link.end()
        connect_s = min(ends_s, asyncio.get_running_loop().time() + _CONNECT_S)
        try:
            async with asyncio.timeout_at(connect_s):
                reader, writer = await asyncio.open_connection(
                    str(await self._address()),
                    self.server.port,
                    ssl=(self.tls or ssl.create_default_context()) if self.server.tls else None,
                    server_hostname=self.server.host if self.server.tls else None,
                    limit=_CHUNK,
                )
        except TimeoutError:
            raise UpstreamLost(_LOST) from None
        return _Link(reader, writer, h11.Connection(h11.CLIENT, _MAX_HEAD))

    async def _address(self) -> Address:
        try:
            found: list[Address] = [ipaddress.ip_address(self.server.host)]
        except ValueError:
            found = await resolve(self.server.host, self.server.port)
        if not found or not all(map(self.allows, found)):
            raise UpstreamLost("the model server is at an address that is not allowed")
        return found[0]

    def _finish(self, link: _Link, *, whole: bool) -> None:
        self._busy.discard(link)
        if whole and len(self._idle) < _MAX_IDLE and link.http.our_state is h11.DONE:
            try:
                link.http.start_next_cycle()
            except h11.ProtocolError:
                link.end()
                return
            link.idle_since_s = time.monotonic()
            self._idle.append(link)
            return
        link.end()

    def abandon(self) -> None:
        """Ends every running call; each raises Overloaded."""
        self._abandoned = True
        for link in tuple(self._busy):
            link.end()

    async def close(self) -> None:
        """Closes every connection."""
        links = [*self._idle, *self._busy]
        self._idle.clear()
        for link in links:
            link.end()
        ends = (link.writer.wait_closed() for link in links)
        await asyncio.gather(*ends, return_exceptions=True)


async def _event(link: _Link, ends_s: float) -> object:
    while (event := link.http.next_event()) is h11.NEED_DATA:
        async with asyncio.timeout_at(ends_s):
            link.http.receive_data(await link.reader.read(_CHUNK))
    return event
