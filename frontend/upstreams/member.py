"""One upstream of the fleet: what it serves, how much of it runs, and how it has been doing.

It counts the requests of this gateway alone. A breaker of one model never stops another.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from frontend.domain.models import Model
from frontend.domain.speed import Speed
from frontend.errors import (
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    UpstreamBusy,
    UpstreamLost,
)
from frontend.upstreams.health import Breaker, State
from frontend.upstreams.prefixes import Prefixes
from frontend.upstreams.protocol import Figures, Upstream
from frontend.upstreams.registry import Registry

_POLLS_UNTIL_STALE = 2


@dataclass(frozen=True, slots=True)
class Placing:
    """The operator's rules for one upstream.

    `max_running`: requests at once; None: no limit of its own. `groups`: the ids of the groups that
    may use it; empty: all. `external`: prompts leave the site.
    """

    engine: str = "triton"
    max_running: int | None = None
    priority: float = 0.0
    external: bool = False
    groups: frozenset[str] = frozenset()


@dataclass(slots=True)
class Member:
    """One upstream by its name."""

    name: str
    upstream: Upstream
    registry: Registry
    placing: Placing = Placing()
    enabled: bool = True
    draining: bool = False
    running: int = 0
    clock: Callable[[], float] = time.monotonic
    prefixes: Prefixes = field(default_factory=Prefixes)
    figures: Figures | None = None
    error: str | None = None
    """Why it was last given up on, for admins."""
    _breakers: dict[str, Breaker] = field(default_factory=dict)
    _speeds: dict[str, Speed] = field(default_factory=dict)

    @property
    def problem(self) -> str | None:
        """Why it cannot be reached, or was last given up on."""
        return self.registry.failure or self.error

    @property
    def takes_requests(self) -> bool:
        """Whether new requests may go there."""
        return self.enabled and not self.draining

    @property
    def is_idle(self) -> bool:
        """Whether no request of this gateway runs or waits there for its model."""
        return not self.running and not self.registry.residency.is_used

    @property
    def has_room(self) -> bool:
        """Whether one more request may run there."""
        most = self.placing.max_running
        return most is None or self.running < most

    @property
    def is_stale(self) -> bool:
        """Whether what is known of it is older than two polls."""
        return self.registry.polled_s_ago > (_POLLS_UNTIL_STALE + 1) * self.registry.interval_s

    @property
    def utilization(self) -> float | None:
        """The part of its capacity that is in use; None where that is not known."""
        if self.placing.max_running:
            return self.running / self.placing.max_running
        return None if self.figures is None else self.figures.utilization

    @property
    def queue(self) -> float:
        """Requests that wait there; without figures, those of this gateway that run there."""
        waiting = None if self.figures is None else self.figures.waiting
        return float(self.running if waiting is None else waiting)

    def breaker(self, model: str) -> Breaker:
        """The breaker of a model that is served here."""
        if (breaker := self._breakers.get(model)) is None:
            breaker = self._breakers[model] = Breaker(self.clock)
        return breaker

    def speed(self, model: str) -> Speed:
        """How fast a model answers here."""
        if (speed := self._speeds.get(model)) is None:
            speed = self._speeds[model] = Speed()
        return speed

    def is_open(self, model: str) -> bool:
        """Whether the model's breaker keeps requests away."""
        breaker = self._breakers.get(model)
        return breaker is not None and breaker.state is not State.CLOSED

    @property
    def broken(self) -> dict[str, State]:
        """The models whose breaker is not closed."""
        states = {name: breaker.state for name, breaker in self._breakers.items()}
        return {name: state for name, state in states.items() if state is not State.CLOSED}

    def succeeded(self, model: str) -> None:
        """A request had an answer."""
        if (breaker := self._breakers.get(model)) is not None:
            breaker.succeeded()

    def failed(self, model: str, error: Exception, *, answered: bool) -> None:
        """A request ended with an error. `answered`: after its first byte."""
        if isinstance(error, UpstreamLost):
            self.registry.lost()
            self.error = "the server cannot be reached"
            return  # the next poll says when it is back: a breaker would only delay that
        if isinstance(error, UpstreamBusy) or (isinstance(error, BackendTimeout) and answered):
            return
        if isinstance(error, BackendFailed | BackendTimeout | BackendUnavailable):
            self.breaker(model).failed()
            # never its message, which an engine may have made of a prompt: every admin sees this
            self.error = error.code or error.type

    def served(self) -> list[Model]:
        """The models that may be asked for here."""
        return self.registry.models if self.enabled else []
