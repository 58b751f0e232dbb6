"""The clock for limits: UTC, without the jumps of the machine's clock.

It follows the monotonic clock. If the wall clock has differed by more than a second for a minute,
it was set, and this clock is set once; until then budgets are not affected.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_TOLERANCE_US = 1_000_000
_PATIENCE_US = 60_000_000
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Clock:
    """Call it for the microseconds since the epoch."""

    wall_ns: Callable[[], int] = time.time_ns
    steady_ns: Callable[[], int] = time.monotonic_ns
    _offset_us: int = field(init=False)
    _differs_since_us: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._offset_us = self.wall_ns() // 1000 - self.steady_ns() // 1000

    def __call__(self) -> int:
        """Now."""
        steady_us = self.steady_ns() // 1000
        difference_us = self.wall_ns() // 1000 - steady_us - self._offset_us
        if abs(difference_us) <= _TOLERANCE_US:
            self._offset_us += difference_us  # NTP's small corrections
            self._differs_since_us = None
        elif self._differs_since_us is None:
            self._differs_since_us = steady_us
            text = (
                "the system clock was changed by %.1f s; limits use the new time after one minute"
            )
            _log.warning(text, difference_us / 1e6)
        elif steady_us - self._differs_since_us >= _PATIENCE_US:
            self._offset_us += difference_us
            self._differs_since_us = None
        return steady_us + self._offset_us
