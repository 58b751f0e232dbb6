"""How much the models that are loaded at one upstream may take."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """Of one upstream. `wait_s`: how long a load waits for room."""

    max_bytes: float = math.inf
    max_models: float = math.inf
    wait_s: float = 300.0
    min_stay_s: float = 10.0

    @property
    def is_limited(self) -> bool:
        """Whether models may have to go."""
        return self.max_bytes < math.inf or self.max_models < math.inf

    def holds(self, sizes: Sequence[int]) -> bool:
        """Whether models of these sizes may be loaded together."""
        return sum(sizes) <= self.max_bytes and len(sizes) <= self.max_models


UNLIMITED_ROOM = RoomLimits()
