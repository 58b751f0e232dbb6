"""uvicorn's HTTP/1.1 protocol with limits, and without framing that proxies may read differently.

The parser (llhttp) refuses two lengths, a length beside chunks, bare line feeds and folded headers.
`Framing` adds limits on heads and chunks; here pipelining is limited, and a response that leaves a
body unread closes its connection. Connections have no timers of their own: `Connections` checks all
of them about once a second.
"""

import asyncio
import logging
import socket
import uuid
from typing import Any
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from frontend.errors import GatewayError, InvalidRequest, Overloaded, RateLimited
from frontend.http.connections import Connections, network_of
from frontend.http.framing import Framing
from frontend.http.refusal import check_head, check_target, refusal_of

_SEND_BYTES = 128 * 1024  # Linux takes it twice
_REFUSED_BYTES = 2**20  # discarded after a refusal
_log = logging.getLogger("frontend.access")


class _Joined:
    """In place of the transport of a whole answer: its head waits for its body, so that both are
    one write. Two cost the gateway a second system call, and wake the client twice."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._head = transport, b""

    def write(self, data: bytes) -> None:
        """The head, then the body, which may be empty."""
        if self._head:
            self._transport.writelines([self._head, data])
        else:
            self._head = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Cycle(RequestResponseCycle):
    """One request and its answer."""

    is_last = False

    def send(self, message: Any) -> Any:
        """An awaitable. An answer that begins before its request ends is the connection's last."""
        # an answer after the request's end needs nothing; this is the common case, without a
        # coroutine
        if message.get("is_whole") and self.scope["method"] != "HEAD":
            self.transport = _Joined(self.transport)  # type: ignore[assignment]
        if self.response_started or not self.more_body:
            return super().send(message)
        return self._send_early(message)

    async def _send_early(self, message: Any) -> None:
        # False while the head is written, which makes uvicorn add `connection: close`
        self.is_last, self.keep_alive = True, False
        await super().send(message)
        self.keep_alive = True  # the protocol closes it, once its client has read the answer


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    cycle: Cycle
    served = 0
    waits_since_s: float | None = None
    _address = ""
    _active: Cycle | None = None  # is being answered; others are in the pipeline
    _upgrading = _replaying = False
    _error: GatewayError | None = None  # why a callback made the parser stop
    _refusal: GatewayError | None = None  # sent after the answers that are due before it
    _refusal_id = ""
    _closing = False  # further data is discarded,
    _discard_bytes = 0  # as long as it is no more than this

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        connections: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._all = connections
        self._limits = connections.limits
        self._framing = Framing(connections.limits)
        self._clock = connections.clock

    def patience_s(self) -> float:
        """How long it may wait for its client."""
        idle = self.served and not (self._closing or self._is_receiving)
        return self._limits.idle_s if idle else self._limits.client_s

    @property
    def _is_receiving(self) -> bool:
        """Whether a part of a head has arrived, or the first one is awaited."""
        return self._framing.in_head or self._framing.partial_bytes > 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called once per connection."""
        super().connection_made(transport)
        self.waits_since_s = self._clock()
        # the kernel would keep megabytes for each client that does not read
        peer = transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        self._address = network_of(self.client[0] if self.client else "")
        full = self._all.admit(self, self._address)
        if full is not None:
            problem = "the gateway has too many connections"
            from_one = "there are too many connections from this address"
            error = Overloaded(problem) if full == "all" else RateLimited(from_one)
            self._closing = True
            transport.write(refusal_of(error))
            # the refusal is small and the socket's buffer empty, so it is sent before the close
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called once per connection."""
        self._all.remove(self)
        # before super: it forgets which request is being answered
        active = self._active
        self.pipeline.clear()
        super().connection_lost(exc)
        # uvicorn wakes only the last cycle; with pipelining the one being answered is an earlier
        # one
        if active is not None and active is not self.cycle and not active.response_complete:
            active.disconnected = True
            active.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Called with received bytes: a part of a head or body, or several requests."""
        if self._closing:
            self._discard_bytes -= len(data)
            if self._discard_bytes < 0 and self.waits_since_s is not None:
                self.transport.abort()
            elif self._discard_bytes < 0:  # answers are still due
                self.flow.pause_reading()
            return
        framing = self._framing
        # a connection that idles has the long limit, one that sends a head the short one
        if not framing.in_body and self.waits_since_s is not None and not self._is_receiving:
            self.waits_since_s = self._clock()  # the first bytes of a request
        framing.add_received(len(data))
        try:
            # after feeding, because only the parser knows what has become a header or data
            self._feed(data)
            framing.check()
        except httptools.HttpParserError:
            self._refuse(self._error or InvalidRequest("this is not a valid HTTP request"))
        except InvalidRequest as error:
            self._refuse(error)

    def _feed(self, data: bytes) -> None:
        """Parses received bytes. Raises HttpParserError for bytes that are not valid HTTP."""
        try:
            self.parser.feed_data(data)
        # `Upgrade: h2c` and websockets: RFC 9110 (section 7.8) lets a server ignore the header
        except (
            httptools.HttpParserUpgrade
        ) as upgrade:  # ignored: the request is served as any other
            # llhttp stops at an upgrade for good; a new parser gets a head that leads to the same
            # state
            self.parser = httptools.HttpRequestParser(self)
            # without it llhttp refuses bytes after `connection: close`, which are discarded here
            # anyway
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self._upgrading, self._replaying = False, True
            self.parser.feed_data(b"".join(self._framing.repeated_head()))
            self._replaying = False
            if rest := data[upgrade.args[0] :]:
                self._feed(rest)

    def on_message_begin(self) -> None:
        """Called by the parser at the start of each request."""
        if self._replaying:
            return
        is_ahead = self._active is not None and not self._active.response_complete
        # each waiting request holds a head and a part of its body
        if is_ahead and len(self.pipeline) >= self._limits.pipelined:
            raise self._stop(InvalidRequest("too many requests are pipelined; read answers first"))
        self._framing.begin()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header, and for each trailer field."""
        if self._replaying:
            return
        # RFC 9110 (section 5.1): names are case-insensitive, and everything below compares bytes
        name = name.lower()
        try:
            self._framing.add_header(name, value)
        except InvalidRequest as error:
            raise self._stop(error) from error
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Called by the parser at the end of each request's head."""
        if self._replaying:
            return
        version, method = self.parser.get_http_version(), self.parser.get_method()
        try:
            check_head(version, method, self._framing.hosts, self._framing.encoding)
            # llhttp accepts `GET http://other/ HTTP/1.1` beside any Host
            raw_path, query = check_target(self.url, self._framing.hosts)
        except InvalidRequest as error:
            raise self._stop(error) from error
        self._framing.end_head()
        self._upgrading = self.parser.should_upgrade()
        # from here on the request's own deadline counts
        self.waits_since_s = None
        path = raw_path.decode("ascii")
        self.scope["method"] = method.decode("ascii")
        self.scope["http_version"] = version
        # decoded once: a second time, `%252e` would become a dot behind the route's back
        self.scope["path"] = unquote(path) if "%" in path else path
        self.scope["raw_path"] = raw_path
        self.scope["query_string"] = query
        self._begin(keep_alive=version == "1.1" and self.parser.should_keep_alive())

    def _begin(self, *, keep_alive: bool) -> None:
        before = self.cycle
        self.cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start(self.cycle)
        else:
            # its body waits in the kernel until the answers before it are sent
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _start(self, cycle: Cycle) -> None:
        self._active = cycle
        self._start_asgi_task(cycle, self.app)

    def on_body(self, body: bytes) -> None:
        """Called by the parser for each piece of a body."""
        cycle = self.cycle
        self._framing.add_body(len(body))
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Called by the parser at the end of each request."""
        # llhttp reports the end before it raises the upgrade; the body is still to come
        if self._upgrading:
            return
        self._framing.end()
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Called at the end of each answer, which may have closed the connection."""
        self.server_state.total_requests += 1
        self.served += 1
        assert self._active is not None
        # nothing can be written any more; the pipeline ended with the connection
        if self.transport.is_closing():
            return
        # a body may have paused it, and the next request is behind that body
        self.flow.resume_reading()
        if self._active.is_last:
            self._linger(self._limits.discarded_bytes)
        elif self.pipeline:
            cycle, _ = self.pipeline.pop()
            self._start(cycle)  # type: ignore[arg-type]
        elif self._refusal is not None:
            self._refuse_now(self._refusal)
        else:
            self.waits_since_s = self._clock()

    def _stop(self, error: GatewayError) -> GatewayError:
        self._error = error
        return error

    def _refuse(self, error: GatewayError) -> None:
        """Stops reading; earlier requests are answered first."""
        self._closing, self._refusal_id = True, uuid.uuid4().hex
        self._discard_bytes = min(self._limits.discarded_bytes, _REFUSED_BYTES)
        # not the message, which quotes what the client wrote
        text, reason = "refused a request from %s: invalid %s", error.param or "request"
        _log.warning(text, self._address, reason, extra={"id": self._refusal_id})
        # RFC 9112 (section 9.3.2): answers are sent in the order of the requests
        if self._framing.in_body and self.pipeline:
            self.pipeline.popleft()  # the request itself is broken, and not begun
        elif self._framing.in_body and not self.cycle.response_started:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._refuse_now(error)
            return
        elif self._framing.in_body:
            self.cycle.is_last = True
            return
        if self._active is None or self._active.response_complete:
            self._refuse_now(error)
        else:
            self._refusal = error

    def _refuse_now(self, error: GatewayError) -> None:
        self.transport.write(refusal_of(error, self._refusal_id))
        self._linger(min(self._limits.discarded_bytes, _REFUSED_BYTES))

    def _linger(self, discard_bytes: int) -> None:
        """Stops writing and keeps reading: closing immediately could discard the answer."""
        self._closing, self.waits_since_s = True, self._clock()
        self._discard_bytes = discard_bytes
        self.flow.resume_reading()
        # a close with unread bytes makes the kernel send RST, and the client loses what it had to
        # read
        self.transport.write_eof()
