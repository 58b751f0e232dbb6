"""The HTTP server below the application: uvicorn with bounded heads and a drain before its end.

The first SIGTERM or SIGINT turns /readyz to 503 and refuses new work, while running requests
finish; those that do not in the drain time end with an error that says why. The second signal ends
everything at once.
"""

import asyncio
import time
import uuid
from types import FrameType

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from frontend.dialects.openai.failures import render_error
from frontend.errors import InvalidRequest
from frontend.generation.run import Runner

MAX_HEAD_BYTES = 64 * 1024
HEAD_TIMEOUT_S = 30.0
_TOO_LARGE = f"The URL or the headers are larger than {MAX_HEAD_BYTES} bytes"


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol; it takes a request's head of any size, as slowly as it comes."""

    _header_bytes = 0  # of the headers that are complete
    _partial_bytes = 0  # received since the last complete one
    _in_head = True
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called once per connection."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called once per connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called with what came: a part of a head or body, or several requests."""
        self._partial_bytes += len(data)
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        if self._partial_bytes > MAX_HEAD_BYTES:
            self.send_400_response(_TOO_LARGE)
        elif self._timer is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        """Called by the parser at the start of each request."""
        self._header_bytes = self._partial_bytes = 0
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header. The error ends the connection with a 400."""
        self._partial_bytes = 0
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEAD_BYTES:
            raise ValueError(_TOO_LARGE)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Called by the parser at the end of each request's head."""
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What never becomes a request is refused in the one shape of errors, too."""
        problem = _TOO_LARGE if self._header_bytes > MAX_HEAD_BYTES else msg.rstrip(".")
        body = render_error(InvalidRequest(f"{problem}; the connection is closed"))
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {uuid.uuid4().hex}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._end_slow_head)

    def _end_slow_head(self) -> None:
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class DrainingServer(uvicorn.Server):
    """Keeps listening while it drains, so that /readyz can say so."""

    def __init__(self, config: uvicorn.Config, runner: Runner, drain_s: float) -> None:
        super().__init__(config)
        self._runner = runner
        self._drain_s = drain_s
        self._drain_until_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """The first signal drains, the second ends at once."""
        if self._drain_until_s is not None:
            self.force_exit = self.should_exit = True
            return
        self._drain_until_s = time.monotonic() + self._drain_s
        self._runner.admission.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Called about ten times a second while serving."""
        if self._drain_until_s is not None:
            late = time.monotonic() > self._drain_until_s
            if late:
                self._runner.abandon()
            self.should_exit |= late or self._runner.admission.idle
        return await super().on_tick(counter)
