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
    """Adds up the usage of a request with several prompts and completions."""

    _last: dict[tuple[int, int], Event] = field(default_factory=dict)

    def see(self, prompt: int, event: Event) -> None:
        """Takes note of an event of the request's prompt number `prompt`."""
        self._last[prompt, event.index] = event

    @property
    def total(self) -> Usage:
        """The sum so far: each prompt once, each completion as far as it got."""
        prompts = {prompt: event for (prompt, _), event in self._last.items()}
        return Usage(
            sum(event.prompt_tokens for event in prompts.values()),
            sum(event.cached_tokens for event in prompts.values()),
            sum(event.completion_tokens for event in self._last.values()),
            sum(event.reasoning_tokens for event in self._last.values()),
        )
