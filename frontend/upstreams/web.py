"""HTTP to one upstream: JSON requests, and answers that are read whole or line by line.

Connections are kept and reused. Heads, bodies, lines and time are bounded; redirects are refused,
because they would carry the key elsewhere; compressed answers are not asked for. The address of
the host is checked and then connected to, so that a second look-up cannot answer differently.
Lines that come within milliseconds travel together, as those of Triton's engines do.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile
from types import SimpleNamespace
from typing import Any

import aiohttp
import orjson
from yarl import URL

from frontend.address import Address, Server
from frontend.domain.trace import Headers
from frontend.errors import (
    BackendFailed,
    BackendTimeout,
    GatewayError,
    Overloaded,
    UpstreamLost,
)
from frontend.upstreams.protocol import Call
from frontend.upstreams.resolver import CheckedResolver, NotAllowed

_CHUNK = 65_536
_MAX_FIELD = 16_384
_MAX_BODY = 256 * 2**20
_MAX_LINE = 32 * 2**20
_CONNECT_S = 5.0
_IDLE_S = 4.0
"""uvicorn, which most engines run, closes an idle connection after 5 s."""
_TOGETHER_S, _EACH_S, _MOST_S = 0.01, 0.0014, 0.1
"""Between two parts of a stream: at least, for each open stream, at most. As Triton's engines."""
_END_S = 0.2
_OWN_HEADERS = ("accept", "accept-encoding", "user-agent", "content-type")
_LOST = "the model server is not available now; try again later"


class Refused(Exception):
    """An answer with an error status; `body` is its JSON, or None."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


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
    _session: aiohttp.ClientSession | None = None
    _streams: int = 0
    _abandoned: bool = False
    _closing: "asyncio.Task[None] | None" = field(default=None)

    async def read(self, method: str, path: str, body: Any = None, timeout_s: float = 10.0) -> Any:
        """The JSON of a whole answer. Raises Refused for an error status, and GatewayError if there
        is no valid answer."""
        return await self._read(_Ask(method, path, body), timeout_s)

    async def post(self, path: str, body: Any, call: Call) -> Any:
        """The JSON of the whole answer to a call. Raises Refused for an error status, and
        GatewayError if there is no valid answer."""
        return await self._read(_Ask("POST", path, body, call.headers), call.timeout_s)

    async def _read(self, ask: _Ask, timeout_s: float) -> Any:
        async with aclosing(self._parts(ask, timeout_s, _MAX_BODY)) as parts:
            pieces = [part async for part in parts]
        try:
            return orjson.loads(b"".join(pieces))
        except orjson.JSONDecodeError:
            raise BackendFailed("the model server sent an answer that is not valid JSON") from None

    async def text(self, path: str, timeout_s: float, most: int) -> str:
        """The text of an answer of at most `most` bytes. Raises Refused for an error status, and
        GatewayError if the answer is missing or larger."""
        async with aclosing(self._parts(_Ask("GET", path), timeout_s, most)) as parts:
            return b"".join([part async for part in parts]).decode(errors="replace")

    async def lines(
        self,
        path: str,
        body: Any,
        call: Call,
        is_last: Callable[[bytes], bool] = lambda _: False,
    ) -> AsyncGenerator[list[bytes], None]:
        """The lines of an answer, those that come together in one list, without empty ones.

        `is_last` says which line only ends the answer: it and what follows are left out. Raises
        Refused for an error status, and GatewayError if the answer breaks off.
        """
        left, ask = b"", _Ask("POST", path, body, call.headers)
        async with aclosing(self._parts(ask, call.timeout_s, None)) as parts:
            async for part in parts:
                *lines, left = (left + part).split(b"\n")
                if len(left) > _MAX_LINE:
                    raise BackendFailed("the model server sent a line that is too long")
                found = [stripped for line in lines if (stripped := line.rstrip(b"\r"))]
                if before := [*takewhile(lambda line: not is_last(line), found)]:
                    yield before
                if len(before) < len(found):
                    # a connection whose answer is read to its end can be used again; the answer is
                    # whole, however it ends
                    with suppress(TimeoutError, GatewayError):
                        async with asyncio.timeout(_END_S):
                            async for _ in parts:
                                pass
                    return
        if left.strip():
            yield [left.rstrip(b"\r")]

    async def _parts(
        self, ask: _Ask, timeout_s: float, most: int | None
    ) -> AsyncGenerator[bytes, None]:
        """Those of a whole answer as they come; those of a stream (`most` is None) together."""
        response, size = None, 0
        try:
            response = await self._begin(ask, timeout_s)
            if response.status >= 300:
                raise await _refused(response)
            if most is None:
                self._streams += 1
                async with aclosing(self._together(response.content)) as parts:
                    async for part in parts:
                        yield part
                return
            async for part in response.content.iter_any():
                size += len(part)
                if size > most:
                    raise BackendFailed("the model server sent an answer that is too large")
                yield part
        except TimeoutError as error:
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise UpstreamLost(_LOST) from None
            text = "the request took longer than the server allows"
            raise BackendTimeout(text) from None
        except (OSError, aiohttp.ClientError) as error:
            if self._abandoned:
                text = "the server is shutting down; send the request again"
                raise Overloaded(text, code="draining") from None
            if isinstance(getattr(error, "os_error", error), NotAllowed):
                text = "the model server is at an address that is not allowed"
                raise UpstreamLost(text) from None
            raise UpstreamLost(_LOST) from None
        finally:
            if response is not None:
                self._streams -= most is None and response.status < 300
                if not response.content.is_eof():
                    response.close()

    async def _together(self, content: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
        """The first two parts and the end immediately, the others with a rest between them.

        A stream that is slower than the rest needs no timer: it is rested only after a part that
        came too early, and then as long as something comes within each rest.
        """
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        free_s, often, number = 0.0, False, 0
        content.on_eof(woken.set)
        while True:
            part = b""
            if often:
                await _rest(content, woken, free_s)
                part = _come(content)
            if not (often := bool(part)):
                if not (part := await content.readany()):
                    return
                if number > 1 and loop.time() < free_s:
                    often = True
                    await _rest(content, woken, free_s)
                    part += _come(content)
            yield part
            number += 1
            free_s = loop.time() + min(max(_TOGETHER_S, _EACH_S * self._streams), _MOST_S)

    async def _begin(self, ask: _Ask, timeout_s: float) -> aiohttp.ClientResponse:
        """Sends a request and reads the head of its answer."""
        ends_s = asyncio.get_running_loop().time() + timeout_s
        while True:
            reuse = SimpleNamespace(used=False)
            left_s = ends_s - asyncio.get_running_loop().time()
            if left_s <= 0:
                raise TimeoutError
            try:
                return await self._send(ask, left_s, reuse)
            except (OSError, aiohttp.ClientError) as error:
                # a server may close a kept connection in the moment in which it is used again
                is_late = isinstance(error, TimeoutError)
                if is_late or not reuse.used or self._abandoned:
                    raise

    async def _send(
        self, ask: _Ask, timeout_s: float, reuse: SimpleNamespace
    ) -> aiohttp.ClientResponse:
        if self._abandoned:
            raise OSError
        self._check_literal()
        data, kind = None, {}
        if ask.body is not None:
            data = orjson.dumps(ask.body, option=orjson.OPT_NON_STR_KEYS)
            kind = {"content-type": "application/json"}
        headers = {
            "user-agent": "triton-toolkit",
            "accept-encoding": "identity",
            **self.headers,
            **dict(ask.headers),
            **kind,
        }
        scheme = "https" if self.server.tls else "http"
        # put together from the parts that were checked, and not read a second time
        url = URL(f"{scheme}://{self.server.authority}{self.server.path}{ask.path}", encoded=True)
        return await self._opened().request(
            ask.method, url, data=data, headers=headers, allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_S),
            trace_request_ctx=reuse,
        )  # fmt: skip

    def _opened(self) -> aiohttp.ClientSession:
        """The connections; made within the event loop that uses them."""
        if self._session is None:
            reused = aiohttp.TraceConfig()
            reused.on_connection_reuseconn.append(_note_reuse)
            connector = aiohttp.TCPConnector(
                limit=0,
                keepalive_timeout=_IDLE_S,
                ssl=self.tls or True,
                resolver=CheckedResolver(self.allows),
                use_dns_cache=False,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=_OWN_HEADERS,
                read_bufsize=_CHUNK,
                max_line_size=_MAX_FIELD,
                max_field_size=_MAX_FIELD,
                trace_configs=[reused],
            )
        return self._session

    def _check_literal(self) -> None:
        """An address in the URL itself is not looked up, so it is checked here."""
        literal = _literal_of(self.server.host)
        if literal is not None and not self.allows(literal):
            raise NotAllowed

    def abandon(self) -> None:
        """Ends every running call; each raises Overloaded."""
        self._abandoned = True
        if self._session is not None and self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._session.close())

    async def close(self) -> None:
        """Closes every connection."""
        if self._closing is not None:
            await self._closing
        elif self._session is not None:
            await self._session.close()
            self._session = None


@lru_cache(maxsize=1024)
def _literal_of(host: str) -> Address | None:
    """The address that a host of a URL is; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


async def _note_reuse(
    _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceConnectionReuseconnParams
) -> None:
    context.trace_request_ctx.used = True


async def _rest(content: aiohttp.StreamReader, woken: asyncio.Event, until_s: float) -> None:
    """Until that time, or the end of the answer, which wakes it as well."""
    if content.is_eof():
        return
    # no `timeout`: its exception would pass every generator between the task and this one
    timer = asyncio.get_running_loop().call_at(until_s, woken.set)
    try:
        await woken.wait()
    finally:
        timer.cancel()
    woken.clear()


def _come(content: aiohttp.StreamReader) -> bytes:
    """What has come. An error is left to the next read: what came before it is sent first."""
    return b"" if content.exception() is not None else content.read_nowait()


async def _refused(response: aiohttp.ClientResponse) -> Exception:
    if response.status < 400:
        return BackendFailed(
            "the model server redirects requests, which the gateway does not follow"
        )
    pieces, size = [], 0
    async for part in response.content.iter_any():
        pieces.append(part)
        if (size := size + len(part)) >= _CHUNK:
            break
    try:
        return Refused(response.status, orjson.loads(b"".join(pieces)))
    except orjson.JSONDecodeError:
        return Refused(response.status, None)
