"""The stream of responses to one request of a decoupled step.

After the final response nothing is sent, whoever tries. Knows nothing of engines.
"""

import json
from collections.abc import Sequence
from typing import Any

from python_backends.triton import FINAL, Arrays, Sender, refuse, respond, texts


class Replies:
    """Sends events, tensors or one error to a request's client."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self.ended = False

    def send(self, arrays: Arrays, *, final: bool = False) -> None:
        self._send(respond(arrays), final)

    def send_events(self, events: Sequence[dict[str, Any]], *, final: bool = False) -> None:
        """Events as JSON texts in one tensor, shape [len(events)]."""
        encoded = texts([encode(event) for event in events])
        self._send(respond({"event": encoded}), final)

    def fail(self, error: BaseException) -> None:
        self._send(refuse(error), final=True)

    def end(self) -> None:
        """Ends the stream without data."""
        self._send(None, final=True)

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
