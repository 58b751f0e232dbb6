"""The HTTP server below the application: uvicorn with bounded headers and a drain before its end.

The first SIGTERM or SIGINT turns /readyz to 503 and refuses new work, while running requests
finish; those that do not in the drain time end with an error that says why. The second signal ends
everything at once.
"""

import time
from types import FrameType

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from frontend.generation.run import Runner

MAX_HEADER_BYTES = 64 * 1024


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol; it takes headers of any size, this one does not."""

    _header_bytes = 0

    def on_message_begin(self) -> None:
        """Called by the parser at the start of each request."""
        self._header_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each header. The error ends the connection with a 400."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADER_BYTES:
            raise ValueError("the headers are too large")
        super().on_header(name, value)


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
