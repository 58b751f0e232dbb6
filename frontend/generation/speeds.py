"""How fast each model answers: moving means over its generations. Pure.

Memory is bounded by the number of served models.
"""

import time
from collections import defaultdict
from dataclasses import dataclass, field

from frontend.domain.events import Event
from frontend.domain.speed import Speed


class Stopwatch:
    """Times one generation, from its creation on."""

    def __init__(self, *speeds: Speed) -> None:
        self._speeds = speeds
        self._begun_s = time.perf_counter()
        self._first_s = self._last_s = 0.0
        self._first_tokens = 0
        self._tokens: dict[int, int] = {}

    def saw(self, events: list[Event]) -> None:
        """A group of events that just came."""
        self._last_s = time.perf_counter()
        for event in events:
            self._tokens[event.index] = event.completion_tokens
        # tokens that came first are not measured: their time is that of the prompt
        if not self._first_s:
            self._first_s, self._first_tokens = self._last_s, sum(self._tokens.values())

    def stop(self) -> None:
        """The generation has ended; one without events is not counted."""
        if self._first_s:
            tokens = sum(self._tokens.values()) - self._first_tokens
            for speed in self._speeds:
                speed.add(self._first_s - self._begun_s, tokens, self._last_s - self._first_s)


@dataclass(slots=True)
class Speeds:
    """All models by name."""

    _models: defaultdict[str, Speed] = field(default_factory=lambda: defaultdict(Speed))

    def of(self, model: str) -> Speed:
        """The speed of a served model."""
        return self._models[model]
