"""The circuit breaker of one model at one upstream. Pure, with the caller's clock.

closed → open after several failures in a row → half open after a while: a probe request decides.
What the caller of a request did wrong, and a server that is busy, never count.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

FAILURES = 5
COOL_S = 5.0
MAX_COOL_S = 60.0


class State(enum.Enum):
    """Whether requests go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True)
class Breaker:
    """`clock` gives seconds. Each time that a probe fails it waits twice as long for the next."""

    clock: Callable[[], float]
    failures: int = 0
    _opened_at_s: float | None = None
    _cool_s: float = field(default=COOL_S)

    @property
    def state(self) -> State:
        """The present state of the breaker."""
        if self._opened_at_s is None:
            return State.CLOSED
        over = self.clock() - self._opened_at_s >= self._cool_s
        return State.HALF_OPEN if over else State.OPEN

    def succeeded(self) -> None:
        """A request had an answer."""
        self.failures, self._opened_at_s, self._cool_s = 0, None, COOL_S

    def failed(self) -> None:
        """A request failed, and not by its caller's doing."""
        self.failures += 1
        if self._opened_at_s is not None:
            # only a probe counts: the other requests began before it opened
            if self.state is State.HALF_OPEN:
                self._cool_s = min(2 * self._cool_s, MAX_COOL_S)
                self._opened_at_s = self.clock()
        elif self.failures >= FAILURES:
            self._opened_at_s = self.clock()
