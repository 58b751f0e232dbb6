"""A log of the echo engine's requests, which tests read from another process.

Times are `time.monotonic()`, the same clock in every process of a machine. The number of entries
is limited; the oldest are removed.
"""

import time
from dataclasses import dataclass, field
from typing import Any

LIMIT = 1_000


@dataclass(slots=True)
class Entry:
    """The log of one request."""

    id: str
    prompt: dict[str, Any]
    sampling_parameters: dict[str, Any]
    reply: dict[str, Any] | None = None
    images: list[str] = field(default_factory=list)
    """Files, in base64."""
    started_s: float = field(default_factory=time.monotonic)
    chunks_sent: int = 0
    cancelled_s: float | None = None
    ended_s: float | None = None
    outcome: str | None = None

    def end(self, outcome: str) -> None:
        self.outcome = outcome
        self.ended_s = time.monotonic()


class Journal:
    """The latest `LIMIT` requests, oldest first."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self.total = 0

    def open(self, request_id: str, prompt: dict[str, Any], sampling: dict[str, Any]) -> Entry:
        entry = Entry(request_id, prompt, sampling)
        self._entries.append(entry)
        del self._entries[:-LIMIT]
        self.total += 1
        return entry

    def report(self, request_id: str) -> dict[str, Any]:
        """Entries of one id, or all for an empty id, and the total number of requests so far."""
        entries = [entry for entry in self._entries if request_id in ("", entry.id)]
        return {
            "total": self.total,
            "running": sum(entry.ended_s is None for entry in self._entries),
            "requests": [
                {name: getattr(entry, name) for name in Entry.__slots__} for entry in entries
            ],
        }
