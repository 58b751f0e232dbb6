"""How fast each model answers: moving means over its generations. Pure.

Memory is bounded by the number of served models.
"""

import time
from collections import defaultdict
from dataclasses import dataclass, field

from frontend.domain.events import Event

_WEIGHT = 0.2
"""Of the newest answer."""


@dataclass(slots=True)
class Speed:
    """One model; None before the first answer. `tokens_per_s` leaves out the first tokens."""

    first_token_s: float | None = None
    tokens_per_s: float | None = None

    def add(self, first_s: float, tokens: int, rest_s: float) -> None:
        """One generation: seconds to its first tokens, tokens after them, and their seconds."""
        self.first_token_s = _mean(self.first_token_s, first_s)
        if tokens > 0 and rest_s > 0:
            self.tokens_per_s = _mean(self.tokens_per_s, tokens / rest_s)


def _mean(before: float | None, new: float) -> float:
    return new if before is None else before + _WEIGHT * (new - before)


class Stopwatch:
    """Times one generation, from its creation on."""

    def __init__(self, speed: Speed) -> None:
        self._speed = speed
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
        """The generation is over; one without events is not counted."""
        if self._first_s:
            tokens = sum(self._tokens.values()) - self._first_tokens
            self._speed.add(self._first_s - self._begun_s, tokens, self._last_s - self._first_s)


@dataclass(slots=True)
class Speeds:
    """All models by name."""

    _models: defaultdict[str, Speed] = field(default_factory=lambda: defaultdict(Speed))

    def of(self, model: str) -> Speed:
        """The speed of a served model."""
        return self._models[model]
