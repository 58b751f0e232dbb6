"""One upstream of the fleet: what it serves, how much of it runs, and how it has been doing.

It counts only the requests of this gateway. A breaker of one model never stops another.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
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
ALARM_S = 30.0
"""Age of the figures from which an administrator should know of it."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Placing:
    """The operator's rules for one upstream.

    `max_running`: requests at once; None: no limit of its own. `groups`: the ids of the groups that
    may use it; empty: all. `external`: prompts leave the site. `labels`: what the rules of groups
    are about.
    """

    engine: str = "triton"
    max_running: int | None = None
    priority: float = 0.0
    external: bool = False
    groups: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)


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
    alarmed: bool = False
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
    def room(self) -> float:
        """Requests that may be added to those that run there; infinite without a bound."""
        most = self.most
        return math.inf if most is None else max(most - self.running, 0)

    @property
    def figures(self) -> Figures | None:
        """The load that the server reported at the last poll."""
        return self.upstream.figures

    @property
    def slots(self) -> int | None:
        """Requests that its engine runs at once, where that is known."""
        return None if self.figures is None else self.figures.slots

    @property
    def most(self) -> int | None:
        """Requests that may run there at once. More than the engine runs would wait inside it,
        where they escape the fair share."""
        most, slots = self.placing.max_running, self.slots
        return most if most is None or slots is None else min(most, slots)

    @property
    def is_stale(self) -> bool:
        """Whether what is known of it is older than two polls."""
        return self.registry.polled_s_ago > (_POLLS_UNTIL_STALE + 1) * self.registry.interval_s

    @property
    def utilization(self) -> float | None:
        """The part of its capacity that is in use; None where that is not known."""
        most = self.most or self.slots
        own = self.running / most if most else None
        said = None if self.figures is None else self.figures.utilization
        # a server that says less than what this gateway sends there is not trusted
        return own if said is None else max(said, own or 0.0)

    @property
    def queue(self) -> float:
        """Requests that wait there; without figures, those of this gateway that run there.

        Requests of this gateway beyond those that the server says it runs wait there as well,
        whatever it says about its queue.
        """
        figures = self.figures
        if figures is None or figures.waiting is None:
            return float(self.running)
        return max(figures.waiting, self.running - (figures.running or 0.0))

    def check_age(self) -> None:
        """Logs once that what is known of it is too old to choose by, and once that it is not."""
        age_s = self.registry.polled_s_ago
        if not self.alarmed and ALARM_S < age_s < math.inf:
            text = (
                "the figures of the upstream %s are %.0f s old; requests are distributed at random"
            )
            _log.error(text, self.name, age_s)
            self.alarmed = True
        elif self.alarmed and age_s <= ALARM_S:
            _log.warning("the figures of the upstream %s are current again", self.name)
            self.alarmed = False

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
        self.registry.worked()
        if (breaker := self._breakers.get(model)) is not None:
            breaker.succeeded()

    def failed(self, model: str, error: Exception, *, answered: bool) -> bool:
        """A request ended with an error. `answered`: after its first byte. Whether that was the
        upstream's fault, and not its caller's."""
        if isinstance(error, UpstreamLost):
            # the next poll says when a server is back, and a breaker would delay that; it opens
            # where polls are answered and requests never are, so each poll counts one request
            if self.registry.is_reachable:
                self.breaker(model).failed()
            self.registry.lost()
            self.error = "the server cannot be reached"
            return True
        if isinstance(error, UpstreamBusy) or (isinstance(error, BackendTimeout) and answered):
            return False
        if isinstance(error, BackendFailed | BackendTimeout | BackendUnavailable):
            self.breaker(model).failed()
            # never its message, which an engine may have made of a prompt: every admin sees this
            self.error = error.code or error.type
            return True
        return False

    def served(self) -> list[Model]:
        """The models that may be asked for here."""
        return self.registry.models if self.enabled else []
