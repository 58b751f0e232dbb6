"""The HTTP server below the application: uvicorn with bounded connections and a drain at its end.

The first SIGTERM or SIGINT turns /readyz to 503 and refuses new work, while running requests
finish; those that do not in the drain time end with an error that says why. SIGINT is Ctrl-C: a
person waits, so the drain takes a second at most. The second signal ends everything at once.
"""

import signal
import time
from functools import partial
from types import FrameType
from typing import Any, Protocol

import uvicorn

from frontend.http.connections import Connections
from frontend.http.protocol import BoundedHttp

_SWEEP_TICKS = 10  # about a second
_INTERRUPT_S = 1.0


def server_config(app: Any, connections: Connections, host: str, port: int) -> uvicorn.Config:
    """How uvicorn is used here."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=partial(BoundedHttp, connections=connections),  # type: ignore[arg-type]
        # websockets would come past the limits of BoundedHttp
        ws="none",
        interface="asgi3",
        log_config=None,
        access_log=False,
        # uvicorn would replace the peer's address, and `source.py` must see who really sent it
        proxy_headers=False,
        server_header=False,
        # after the drain: what is left by then is ending, and only has to write its error
        timeout_graceful_shutdown=2,
    )


class Drainable(Protocol):
    """The work that is finished before the server ends."""

    @property
    def idle(self) -> bool:
        """Whether there is none."""
        ...

    def drain(self) -> None:
        """Accepts no more of it."""
        ...

    def abandon(self) -> None:
        """Ends what is left, with an error for its callers."""
        ...


class DrainingServer(uvicorn.Server):
    """Keeps listening while it drains, so that /readyz can say so."""

    def __init__(
        self, config: uvicorn.Config, work: Drainable, connections: Connections, drain_s: float
    ) -> None:
        super().__init__(config)
        self._work = work
        self._connections = connections
        self._drain_s = drain_s
        self._drain_until_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """The first signal drains, the second ends the process."""
        # an impatient operator, or an orchestrator that repeats SIGTERM before it sends SIGKILL
        if self._drain_until_s is not None:
            self.force_exit = self.should_exit = True
            return
        drain_s = min(self._drain_s, _INTERRUPT_S) if sig == signal.SIGINT else self._drain_s
        self._drain_until_s = time.monotonic() + drain_s
        self._work.drain()

    async def on_tick(self, counter: int) -> bool:
        """Called about ten times a second while serving."""
        if counter % _SWEEP_TICKS == 0:
            self._connections.sweep()
        if self._drain_until_s is not None:
            late = time.monotonic() > self._drain_until_s
            if late:
                self._work.abandon()
            self.should_exit |= late or self._work.idle
        return await super().on_tick(counter)
