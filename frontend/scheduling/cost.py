"""The cost of a request in the scheduler: its tokens, weighted by kind. Pure.

A cost is estimated before the request runs, and corrected from the usage that the engine counted.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from frontend.domain.usage import Usage

BYTES_PER_TOKEN = 3.5
UNKNOWN_OUTPUT = 256
"""Tokens of an answer, until the first one of a model has ended."""
_NEWEST = 0.2
_MAX_KNOWN = 20_000


@dataclass(frozen=True, slots=True)
class CostWeights:
    """What a token of each kind costs. An output token takes a step of the engine of its own."""

    prompt: float = 1.0
    cached: float = 0.1
    output: float = 2.0

    def of(self, usage: Usage) -> int:
        """The cost of counted tokens."""
        fresh = max(usage.prompt_tokens - usage.cached_tokens, 0)
        cost = self.prompt * fresh + self.cached * usage.cached_tokens
        return round(cost + self.output * usage.completion_tokens)

    def estimate(self, prompt: float, output: float = 0.0) -> int:
        """The cost of expected tokens, at least one: nothing is free before it ran."""
        return max(round(self.prompt * prompt + self.output * output), 1)


@dataclass(slots=True)
class Outputs:
    """Moving means of the tokens of an answer by user and model; the oldest are forgotten."""

    _means: OrderedDict[tuple[str, str], float] = field(default_factory=OrderedDict)

    def expected(self, user: str, model: str, most: int | None) -> float:
        """Tokens of the next answer, at most `most`."""
        mean = self._means.get((user, model))
        if mean is None:
            mean = self._means.get(("", model), UNKNOWN_OUTPUT)
        return mean if most is None else min(mean, most)

    def add(self, user: str, model: str, tokens: int) -> None:
        """An answer that has ended; it also counts for users whose first one has not."""
        for key in ((user, model), ("", model)):
            self._add(key, tokens)

    def _add(self, key: tuple[str, str], tokens: int) -> None:
        before = self._means.get(key, tokens)
        self._means[key] = before + _NEWEST * (tokens - before)
        self._means.move_to_end(key)
        if len(self._means) > _MAX_KNOWN:
            self._means.popitem(last=False)
