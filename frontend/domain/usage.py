"""Tokens of a request, as the engine counted them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from frontend.domain.events import Event


@dataclass(slots=True)
class Usage:
    """Tokens of a request as the engine counted them."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0

    def part(self, share: float) -> "Usage":
        """A part of each count, rounded up: a price above 0 never makes an answer free."""
        counts = (getattr(self, name) for name in _COUNTS)
        return Usage(*(math.ceil(count * share) for count in counts))


_COUNTS = tuple(Usage.__dataclass_fields__)


def _sum(usages: "Sequence[Usage]") -> Usage:
    if len(usages) == 1:
        return usages[0]
    return Usage(*(sum(getattr(one, name) for one in usages) for name in _COUNTS))


@dataclass(slots=True)
class UsageCount:
    """Adds up the usage of a request with several prompts, attempts and completions."""

    _last: dict[tuple[int, int, int], Event] = field(default_factory=dict)
    _calls: list[Usage] = field(default_factory=list)
    _cached: list[tuple[Usage, float]] = field(default_factory=list)
    _has_estimates: bool = False

    def cached(self, usage: Usage, price: float) -> None:
        """Takes the usage of an answer from the response cache, and the part that it costs."""
        self._cached.append((usage, price))

    def see(self, prompt: int, event: Event, attempt: int = 0) -> None:
        """Takes note of an event of the request's prompt number `prompt`."""
        self._last[prompt, attempt, event.index] = event

    def add(self, usage: Usage, *, estimated: bool = False) -> None:
        """Takes the usage of a call that has no events."""
        self._calls.append(usage)
        self._has_estimates |= estimated

    def __bool__(self) -> bool:
        """Whether anything was counted."""
        return bool(self._last or self._calls or self._cached)

    @property
    def is_estimated(self) -> bool:
        """Whether a count is not the upstream's own."""
        return self._has_estimates or any(event.estimated for event in self._last.values())

    @property
    def total(self) -> Usage:
        """The usage in the answer: each prompt once, and each completion as far as it was
        generated."""
        return _sum([self.computed, *(usage for usage, _ in self._cached)])

    @property
    def charged(self) -> Usage:
        """The usage that is charged: all that was computed, and a part of cached answers."""
        if not self._cached:
            return self.computed
        return _sum([self.computed, *(usage.part(price) for usage, price in self._cached)])

    @property
    def computed(self) -> Usage:
        """The usage that models computed for the request."""
        if len(self._last) == 1 and not self._calls:
            (only,) = self._last.values()
            return Usage(
                only.prompt_tokens,
                only.cached_tokens,
                only.completion_tokens,
                only.reasoning_tokens,
            )
        prompts = {prompt: event for (prompt, _, _), event in self._last.items()}
        completions: list[Event | Usage] = [*self._last.values(), *self._calls]
        inputs: list[Event | Usage] = [*prompts.values(), *self._calls]
        return Usage(
            sum([one.prompt_tokens for one in inputs]),
            sum([one.cached_tokens for one in inputs]),
            sum([one.completion_tokens for one in completions]),
            sum([one.reasoning_tokens for one in completions]),
        )
