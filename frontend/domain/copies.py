"""A model for operators: its state at each upstream."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from frontend.domain.models import Model, Version

STATES = ("loaded", "loading", "unloading", "failed", "unloaded", "unreachable")
"""The best first: a model is in the best state of its copies."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A model at one upstream. `running` and `expires_s` are this gateway's; infinite `keep_s`: it
    stays loaded. Instants are seconds since 1970."""

    upstream: str
    state: str
    versions: Sequence[Version] = ()
    running: int = 0
    used_at_s: float | None = None
    keep_s: float = math.inf
    expires_s: float | None = None
    error: str | None = None
    """Why the change that was asked for failed."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model with its copies. `model` is what is known of it; None if it was never loaded."""

    name: str
    model: Model | None
    copies: list[Copy] = field(default_factory=list)

    @property
    def state(self) -> str:
        """The best state of its copies."""
        return min((one.state for one in self.copies), key=STATES.index, default="unloaded")

    @property
    def used_at_s(self) -> float | None:
        """The last request, in seconds since 1970, where it is known."""
        return max((one.used_at_s for one in self.copies if one.used_at_s), default=None)
