"""Sends the responses to one request of a decoupled step.

Nothing is sent after the final response. A response of any size costs Triton, the stub and the
client 0.25 ms of CPU each, so events within the gap of `Pace` are sent together. The gap grows with
the number of streams; a single stream is not delayed.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

from python_backends.triton import FINAL, Arrays, Sender, refuse, respond, texts

GAP_S = 0.01
"""The shortest time between two responses of a stream; the first is sent at once."""
SHARE_S = 0.0014
"""Added to that time for each open stream, so that all streams send 700 responses/s together."""
LONGEST_GAP_S = 0.1
"""More would look like a stalled stream."""


class Pace:
    """Limits how often an engine's streams send; all streams share one object, in one loop."""

    def __init__(self) -> None:
        self.streams = 0

    @property
    def gap_s(self) -> float:
        """Seconds from one response with events to the next of the same stream."""
        return min(max(GAP_S, self.streams * SHARE_S), LONGEST_GAP_S)


class Replies:
    """Sends events, tensors or one error to a request's client; to be used in an asyncio loop."""

    def __init__(self, sender: Sender, pace: Pace) -> None:
        self._sender = sender
        self._pace = pace
        self._streaming = False
        self.ended = False
        self._waiting: list[dict[str, Any]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._next_s = 0.0

    def send(self, arrays: Arrays, *, final: bool = False) -> None:
        self._send(respond(arrays), final)

    def send_events(self, events: Sequence[dict[str, Any]], *, final: bool = False) -> None:
        """Sends events as a STRING tensor [count] of JSON texts, now or when the pace allows it."""
        if self.ended:
            return
        if not self._streaming:
            self._streaming = True
            self._pace.streams += 1
        self._waiting += events
        wait_s = self._next_s - time.monotonic()
        if final or wait_s <= 0:
            self._flush(final=final)
        # one timer is enough: it sends all that has been collected until then
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._flush)

    def fail(self, error: BaseException) -> None:
        # what was generated before the failure arrives before it
        self._flush()
        self._send(refuse(error), final=True)

    def end(self) -> None:
        """Ends the stream with a final response without tensors."""
        self._flush()
        self._send(None, final=True)

    def _flush(self, *, final: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._next_s = time.monotonic() + self._pace.gap_s
            encoded = texts([encode(event) for event in self._waiting])
            self._waiting = []
            self._send(respond({"event": encoded}), final)

    def is_cancelled(self) -> bool:
        """Whether Triton reports that the client disconnected; always False inside an ensemble."""
        return not self.ended and self._sender.is_cancelled()

    def _send(self, response: object, final: bool) -> None:
        if self.ended:
            return
        self.ended = final
        if final and self._streaming:
            self._pace.streams -= 1
        if response is None:
            self._sender.send(flags=FINAL)
        else:
            self._sender.send(response, flags=FINAL if final else 0)


def encode(value: object) -> bytes:
    """Compact JSON, ASCII: text with half a surrogate pair stays valid UTF-8."""
    return json.dumps(value, separators=(",", ":")).encode()
