"""Chooses the model of a canary for each request, and counts the results of each.

The choice depends only on the user or the session: the same one gets the same model while the
shares and the models stay as they are. What a model cannot serve goes to another one before shares
count. It does not know where shares are stored, nor how other gateways say what they saw;
`withdraw` is called once for a model that failed.
"""

import hashlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from frontend.domain.canaries import Canary, Result, Target
from frontend.domain.identity import ANONYMOUS
from frontend.domain.models import Model
from frontend.domain.request import Request
from frontend.telemetry.runs import Runs
from frontend.upstreams.names import spellings
from frontend.upstreams.need import Need
from frontend.upstreams.placement import Places

RECENT_S = 600.0
_MOST_SEEN = 500
UNCOUNTED = frozenset({"load", "count_tokens", "tokenize", "detokenize"})
"""Operations without an answer of a model."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Record:
    """The last requests that one target got for the shared name, at most of ten minutes."""

    _seen: deque[tuple[float, bool, float | None]] = field(
        default_factory=lambda: deque(maxlen=_MOST_SEEN)
    )

    def add(self, now_s: float, first_token_s: float | None, *, failed: bool) -> None:
        """A request has ended."""
        self._seen.append((now_s, failed, first_token_s))

    def since(self, from_s: float) -> tuple[int, int, int, int]:
        """Requests, those that failed, those that had a first token, and after how many
        microseconds in all."""
        seen = [one for one in self._seen if one[0] >= from_s]
        times = [one[2] for one in seen if one[2] is not None]
        return len(seen), sum(one[1] for one in seen), len(times), round(1e6 * sum(times))


@dataclass(slots=True)
class Rule:
    """A canary in force here. `withdrawn` are its targets that failed, with the reasons."""

    canary: Canary
    targets: tuple[Target, ...]
    withdrawn: dict[str, str]
    records: dict[str, Record]


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A target that gets no more requests, and why. `canary` as it was when it failed."""

    canary: Canary
    target: str
    reason: str


@dataclass(slots=True)
class Shares:
    """The canaries of one gateway process."""

    places: Places
    runs: Runs
    clock: Callable[[], float] = time.monotonic
    withdraw: Callable[[Withdrawal], None] = lambda _: None
    rules: dict[str, Rule] = field(default_factory=dict)
    _others: dict[tuple[str, str, int], Result] = field(default_factory=dict)

    def follow(self, canaries: Iterable[Canary]) -> None:
        """From now on these are in force. What was counted of one that did not change stays."""
        self.rules = {one.name: self._rule(one) for one in canaries}
        self.places.fleet.stable = {
            name: rule.targets[0].model for name, rule in self.rules.items()
        }

    def _rule(self, canary: Canary) -> Rule:
        targets = canary.shares
        withdrawn = {
            one.model: one.reason or "" for one in targets if one.withdrawn_at_us is not None
        }
        known = self.rules.get(canary.name)
        if known is not None and known.canary.updated_at_us == canary.updated_at_us:
            return Rule(canary, targets, known.withdrawn | withdrawn, known.records)
        return Rule(canary, targets, withdrawn, {one.model: Record() for one in targets})

    @property
    def withdrawn(self) -> Mapping[str, float]:
        """How many targets of each canary get no more requests."""
        return {name: float(len(rule.withdrawn)) for name, rule in self.rules.items()}

    def find(self, name: str) -> Rule | None:
        """The canary that a name leads to."""
        if not self.rules:
            return None
        return next((self.rules[one] for one in spellings(name) if one in self.rules), None)

    def choose(
        self, rule: Rule, request: Request, session: str, need: Need, capability: str | None
    ) -> Model | None:
        """The model for a request; None where none of them can serve it."""
        fitting = [
            one
            for one in rule.targets
            if one.model not in rule.withdrawn and self.places.serves(one.model, need, capability)
        ]
        # those without a share are there for the case that the others cannot serve it
        shared = [one for one in fitting if one.percent] or fitting[:1]
        if not shared:
            return None
        key = _key(rule.canary, request, session)
        chosen = max(shared, key=lambda one: _rank(rule.canary.id, one, key))
        return self.places.fleet.own(chosen.model)

    def saw(
        self, name: str, target: str, first_token_s: float | None = None, *, failed: bool
    ) -> None:
        """A target has answered, or failed by its own fault."""
        rule = self.rules.get(name)
        if rule is None or (record := rule.records.get(target)) is None:
            return  # it was changed meanwhile
        record.add(self.clock(), first_token_s, failed=failed)
        self.runs.shared(name, target, failed=failed)
        if not failed or target in rule.withdrawn or target == rule.targets[0].model:
            return
        self._judge(rule, target, self._fails_often(rule, target) or self._broke(rule, target))

    def results(self) -> list[Result]:
        """What this gateway saw lately of every target."""
        return [self._own(rule, one.model) for rule in self.rules.values() for one in rule.targets]

    def learn(self, others: Iterable[Result]) -> None:
        """What the other gateways saw lately. A target may fail too often by the sum."""
        self._others = {(one.canary_id, one.target, one.revision_us): one for one in others}
        for rule in self.rules.values():
            for target in rule.targets[1:]:
                if target.model not in rule.withdrawn:
                    self._judge(rule, target.model, self._fails_often(rule, target.model))

    def _judge(self, rule: Rule, target: str, reason: str | None) -> None:
        if reason is not None:
            rule.withdrawn[target] = reason
            _log.error("%s gets no more requests for %s: %s", target, rule.canary.name, reason)
            self.withdraw(Withdrawal(rule.canary, target, reason))

    def _own(self, rule: Rule, target: str) -> Result:
        seen = rule.records[target].since(self.clock() - RECENT_S)
        return Result(rule.canary.id, target, rule.canary.updated_at_us, *seen)

    def result(self, rule: Rule, target: str) -> Result:
        """What all gateways saw of a target in the last ten minutes. What others saw is as old as
        their last report."""
        own = self._own(rule, target)
        other = self._others.get((own.canary_id, target, own.revision_us))
        return own if other is None else own + other

    def _fails_often(self, rule: Rule, target: str) -> str | None:
        """Why a target is to get no more requests. What fails as often as the stable one does not
        fail because it is new."""
        canary, own = rule.canary, self.result(rule, target)
        is_known = own.requests >= canary.min_requests
        if is_known and 100 * own.errors > canary.max_error_percent * own.requests:
            stable = self.result(rule, rule.targets[0].model)
            is_worse = own.errors * stable.requests > 2 * stable.errors * own.requests
            if is_worse or not stable.requests:
                return f"{own.errors} of its last {own.requests} requests failed"
        return None

    def _broke(self, rule: Rule, target: str) -> str | None:
        if self.places.is_broken(target) and not self.places.is_broken(rule.targets[0].model):
            return "its circuit breaker opened, because requests failed one after the other"
        return None


def _key(canary: Canary, request: Request, session: str) -> str:
    """Who stays at one target."""
    # callers without a key are one user: all of them would get the same target
    if request.caller is ANONYMOUS:
        return session or request.id
    if canary.sticky == "session" and session:
        return f"{request.user}/{session}"
    return request.user


def _rank(salt: str, target: Target, key: str) -> float:
    """The target with the highest rank gets the key: each by its share, and when a share changes no
    more keys move than must (weighted rendezvous hashing, Schindelhauer and Schomaker 2005)."""
    text = f"{salt}\0{target.model}\0{key}".encode()
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    return math.log((number + 1) / 2**64) / (target.percent or 1)
