"""The stream of responses to one request of a decoupled step.

After the final response nothing is sent, whoever tries. A response costs Triton, the stub and the
client 0.25 ms of CPU whatever it carries, so events that follow within `GAP_S` of one travel
together. Knows nothing of engines.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

from python_backends.triton import FINAL, Arrays, Sender, refuse, respond, texts

GAP_S = 0.01
"""The least time between two responses with events; the first one goes at once."""


class Replies:
    """Sends events, tensors or one error to a request's client; to be used in an asyncio loop."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self.ended = False
        self._waiting: list[dict[str, Any]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._next_s = 0.0

    def send(self, arrays: Arrays, *, final: bool = False) -> None:
        self._send(respond(arrays), final)

    def send_events(self, events: Sequence[dict[str, Any]], *, final: bool = False) -> None:
        """Events as JSON texts in one tensor of their number, at once or within `GAP_S`."""
        if self.ended:
            return
        self._waiting += events
        wait_s = self._next_s - time.monotonic()
        if final or wait_s <= 0:
            self._flush(final=final)
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._flush)

    def fail(self, error: BaseException) -> None:
        self._flush()
        self._send(refuse(error), final=True)

    def end(self) -> None:
        """Ends the stream without data of its own."""
        self._flush()
        self._send(None, final=True)

    def _flush(self, *, final: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._next_s = time.monotonic() + GAP_S
            encoded = texts([encode(event) for event in self._waiting])
            self._waiting = []
            self._send(respond({"event": encoded}), final)

    def is_cancelled(self) -> bool:
        """True when Triton knows that the client went away; never inside an ensemble."""
        return not self.ended and self._sender.is_cancelled()

    def _send(self, response: object, final: bool) -> None:
        if self.ended:
            return
        self.ended = final
        if response is None:
            self._sender.send(flags=FINAL)
        else:
            self._sender.send(response, flags=FINAL if final else 0)


def encode(value: object) -> bytes:
    """Compact JSON, ASCII: text with half a surrogate pair stays valid UTF-8."""
    return json.dumps(value, separators=(",", ":")).encode()
