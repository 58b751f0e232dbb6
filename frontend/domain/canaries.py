"""A canary: several models share the requests for one name, so that a new one is tried on a few."""

import hashlib
from dataclasses import astuple, dataclass
from typing import Any, Literal

Sticky = Literal["user", "session"]
MAX_TARGETS = 10


@dataclass(frozen=True, slots=True)
class Target:
    """One model, and its share of the users or sessions in percent.

    `withdrawn_at_us`: it gets no requests since then, because of `reason`.
    """

    model: str
    percent: float
    withdrawn_at_us: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """How many requests a target got, and how many of them it failed. `revision_us`: when the
    canary was changed that they belong to. `answers` of them had a first token, after
    `first_token_us` in all."""

    canary_id: str
    target: str
    revision_us: int
    requests: int
    errors: int
    answers: int = 0
    first_token_us: int = 0

    def __add__(self, other: "Result") -> "Result":
        return Result(
            self.canary_id,
            self.target,
            self.revision_us,
            self.requests + other.requests,
            self.errors + other.errors,
            self.answers + other.answers,
            self.first_token_us + other.first_token_us,
        )

    @property
    def first_token_ms(self) -> float | None:
        """The mean time to the first token; None without one."""
        return round(self.first_token_us / self.answers / 1000, 1) if self.answers else None


@dataclass(frozen=True, slots=True)
class Canary:
    """What requests for `name` lead to. The first of the `targets` is the stable one, which is
    never withdrawn.

    `sticky`: who stays at one target. Another target is withdrawn if, of at least `min_requests`,
    more than `max_error_percent` fail.
    """

    id: str
    name: str
    targets: list[dict[str, Any]]
    sticky: Sticky
    max_error_percent: int
    min_requests: int
    created_at_us: int
    updated_at_us: int

    @property
    def shares(self) -> tuple[Target, ...]:
        """The targets, the stable one first."""
        return tuple(Target(**one) for one in self.targets)

    @property
    def revision(self) -> str:
        """Differs after each change: who edits names the one that they saw."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:16]
