"""`python -m frontend`: the gateway as a process that drains before it ends.

SIGTERM and SIGINT turn /readyz to 503 at once, new work is refused, running requests finish within
the drain time, and the exit code is 0.
"""

import asyncio
import logging
import sys
import time
from types import FrameType

import uvicorn
import uvloop
from pydantic import ValidationError
from pydantic_settings import CliApp

from frontend.app import create_app
from frontend.settings import Settings

_LOOK_INTERVAL_S = 0.02


class DrainingServer(uvicorn.Server):
    """Keeps listening while it drains, so that /readyz can say so."""

    def __init__(self, config: uvicorn.Config, drain_s: float) -> None:
        super().__init__(config)
        self._drain_s = drain_s
        self._drain_until_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """The first signal drains, the second ends at once."""
        if self._drain_until_s is not None:
            self.force_exit = self.should_exit = True
            return
        self._drain_until_s = time.monotonic() + self._drain_s
        self.config.app.state.admission.draining = True  # type: ignore[union-attr]

    async def on_tick(self, counter: int) -> bool:
        """Called about ten times a second while serving."""
        if self._drain_until_s is not None:
            idle = self.config.app.state.admission.idle  # type: ignore[union-attr]
            self.should_exit |= idle or time.monotonic() > self._drain_until_s
        return await super().on_tick(counter)


async def serve(settings: Settings) -> None:
    """Serves until a signal ends it."""
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=75,
        limit_concurrency=None,
        h11_max_incomplete_event_size=64 * 1024,
    )
    await DrainingServer(config, settings.drain_s).serve()


def main() -> int:
    """Reads the settings and serves."""
    try:
        settings = CliApp.run(Settings)
    except ValidationError as error:
        for problem in error.errors():
            field = ".".join(map(str, problem["loc"]))
            sys.stderr.write(f"error: setting '{field}': {problem['msg']}\n")
        return 2
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
