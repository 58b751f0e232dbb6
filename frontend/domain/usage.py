"""Tokens of a request, as the engine counted them."""

from dataclasses import dataclass, field

from frontend.domain.events import Event


@dataclass(slots=True)
class Usage:
    """Tokens of a request as the engine counted them."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(slots=True)
class UsageCount:
    """Adds up the usage of a request with several prompts, attempts and completions."""

    _last: dict[tuple[int, int, int], Event] = field(default_factory=dict)
    _calls: list[Usage] = field(default_factory=list)

    def see(self, prompt: int, event: Event, attempt: int = 0) -> None:
        """Takes note of an event of the request's prompt number `prompt`."""
        self._last[prompt, attempt, event.index] = event

    def add(self, usage: Usage) -> None:
        """Takes the usage of a call that has no events."""
        self._calls.append(usage)

    def __bool__(self) -> bool:
        """Whether anything was counted."""
        return bool(self._last or self._calls)

    @property
    def total(self) -> Usage:
        """The sum so far: each prompt once, each completion as far as it got."""
        prompts = {prompt: event for (prompt, _, _), event in self._last.items()}
        completions: list[Event | Usage] = [*self._last.values(), *self._calls]
        inputs: list[Event | Usage] = [*prompts.values(), *self._calls]
        return Usage(
            sum([one.prompt_tokens for one in inputs]),
            sum([one.cached_tokens for one in inputs]),
            sum([one.completion_tokens for one in completions]),
            sum([one.reasoning_tokens for one in completions]),
        )
