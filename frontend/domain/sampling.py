"""How tokens are chosen, and when the model stops."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen, and when the model stops. None means the model's default.

    `extras` are settings that only engines know, by the engine's name.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    n: int | None = None
    seed: int | None = None
    stop: Sequence[str] | None = None
    logit_bias: Mapping[str, float] | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    min_tokens: int | None = None
    thinking_budget: int | None = None
    """Tokens of reasoning at most."""
    logprobs: int | None = None
    """Return log probabilities of each token and of this many alternatives."""
    prompt_logprobs: int | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def choices(self) -> int:
        """How many completions of one prompt are generated."""
        return self.n or 1
