"""Connects Python's logging with the sinks, for as long as the process serves."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from frontend.telemetry.logs.lines import Format
from frontend.telemetry.logs.redact import describe
from frontend.telemetry.logs.sink import Sink

_CLOSE_S = 3.0
_QUIET = ("opentelemetry", "python_multipart")
"""Libraries that log parts of what they read."""
_log = logging.getLogger(__name__)


class Fanout(logging.Handler):
    """Gives each record to all sinks, and waits for none of them."""

    def __init__(self, sinks: Sequence[Sink], form: Format) -> None:
        super().__init__()
        self._sinks, self._form = sinks, form

    def emit(self, record: logging.LogRecord) -> None:
        """Never fails: a request must not fail because of its log line."""
        try:
            line = self._form.write(record)
        except Exception:  # whatever a library passed to its logger
            for sink in self._sinks:
                sink.losses.add(1)
            return
        for sink in self._sinks:
            sink.put(line)


@contextmanager
def logging_to(sinks: Sequence[Sink], level: str, form: Format) -> Iterator[None]:
    """Logs to the sinks until the block ends. Raises OSError where a sink cannot start."""
    with ExitStack() as stack:
        for sink in sinks:
            sink.start()
            stack.callback(sink.close, _CLOSE_S)
        root, handler = logging.getLogger(), Fanout(sinks, form)
        root.addHandler(handler)
        stack.callback(root.removeHandler, handler)
        # other libraries log what they work with at lower levels: SQL and its values, for one
        root.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
        for name in ("frontend", "uvicorn"):
            logging.getLogger(name).setLevel(level.upper())
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        logging.captureWarnings(capture=True)
        stack.callback(logging.captureWarnings, capture=False)
        yield


def log_unhandled(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """For exceptions of tasks that are not awaited; asyncio itself would log their texts."""
    error = context.get("exception")
    what = "no exception" if error is None else describe(error)
    _log.error("unhandled error in the event loop: %s", what, exc_info=error)
