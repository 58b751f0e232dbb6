"""Sends ended spans to an OTLP collector from a thread of its own, in batches.

The queue is bounded and nothing waits for it: a span that does not fit, or that the collector did
not take, is counted as lost. Neither the collector's words nor the headers are ever logged.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_BATCH = 512
_DELAY_S = 1.0
_log = logging.getLogger(__name__)


class Exporting(SpanProcessor):
    """`sent` and `lost` are called with numbers of spans, from any thread."""

    def __init__(
        self,
        exporter: SpanExporter,
        max_waiting: int,
        sent: Callable[[int], None],
        lost: Callable[[int], None],
    ) -> None:
        self._exporter, self._max_waiting = exporter, max_waiting
        self._sent, self._lost = sent, lost
        self._queue: deque[ReadableSpan] = deque()
        self._wake = threading.Event()
        self._closed = False
        self._failing = False
        self._sending = 0
        self._given_up = False
        self._lock = threading.Lock()
        # a daemon: a collector that stalls must not keep the process from ending
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)

    def start(self) -> None:
        """Begins to send."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Spans that wait to be sent."""
        return len(self._queue) + self._sending

    def on_end(self, span: ReadableSpan) -> None:
        """Takes a span. Never waits."""
        if self._closed or len(self._queue) >= self._max_waiting:
            self._lost(1)
            return
        self._queue.append(span)
        if len(self._queue) >= _BATCH:
            self._wake.set()

    def close(self, timeout_s: float) -> None:
        """Sends what waits, for at most this time; blocks."""
        ends_s = time.monotonic() + timeout_s
        self._closed = True
        self._wake.set()
        self._thread.join(timeout_s)
        # ends the pauses between attempts; a request that stalls ends with the process
        self._exporter.shutdown()
        self._thread.join(max(0.0, min(0.2, ends_s - time.monotonic())))
        with self._lock:
            self._given_up, left = True, self.waiting
            self._queue.clear()
        if left:
            self._lost(left)
            _log.warning("%d spans were lost: the collector did not accept them in time", left)

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(_DELAY_S)
            self._wake.clear()
            self._send_all()
        self._send_all()

    def _send_all(self) -> None:
        while batch := self._take():
            is_sent = self._exporter.export(batch) is SpanExportResult.SUCCESS
            with self._lock:
                self._sending = 0
                if self._given_up:  # `close` has counted them
                    return
            (self._sent if is_sent else self._lost)(len(batch))
            self._report(failing=not is_sent)

    def _take(self) -> list[ReadableSpan]:
        with self._lock:
            if self._given_up:
                return []
            count = min(_BATCH, len(self._queue))
            batch = [self._queue.popleft() for _ in range(count)]
            self._sending = count
        return batch

    def _report(self, *, failing: bool) -> None:
        """One line for each outage."""
        if failing is self._failing:
            return
        self._failing = failing
        if failing:
            _log.warning("the trace collector does not accept spans; they are lost")
        else:
            _log.info("the trace collector accepts spans again")
