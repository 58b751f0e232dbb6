"""How fast a model answers: moving means over its generations. Pure."""

from dataclasses import dataclass

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
