"""Reads the activity of a service's models from its gateway's private socket.

The socket needs no key, as only the service's owner can reach it.
"""

import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from toolkit.serve.record import Record

_ASK_S = 2.0
_LONGEST = 1 << 22


@dataclass(frozen=True, slots=True)
class Activity:
    """One model. Rates are means of recent answers, None before the first; `expires_s` is when an
    idle model is unloaded, in seconds since 1970, None for one that stays."""

    running: int = 0
    tokens_per_s: float | None = None
    first_token_s: float | None = None
    expires_s: float | None = None


def activity_of(record: Record) -> dict[str, Activity] | None:
    """The activity by model; None if there is no gateway or it does not answer."""
    if not record.health:
        return None
    # a gateway of another release may send other fields; then nothing is shown
    with suppress(OSError, ValueError, TypeError, AttributeError):
        models = json.loads(_ask(Path(record.health)))["models"]
        return {name: Activity(**known) for name, known in models.items()}
    return None


def _ask(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(_ASK_S)
        asking.connect(str(path))
        # read to the end: this socket's answers end with the connection and have no chunks
        asking.sendall(b"GET /activity HTTP/1.1\r\nhost: localhost\r\n\r\n")
        answer = b""
        while (piece := asking.recv(1 << 16)) and len(answer) < _LONGEST:
            answer += piece
    return answer.partition(b"\r\n\r\n")[2]
