"""Grants requests from memory if they are certain to fit; the next transaction writes them.

Only a single gateway does so, because its counters are then complete. Grants that are not written
yet count as used, and so does the most that requests may take for which a transaction decides. The
number of gateways must have been read very recently, and a new gateway waits as long before it
serves. Everything else waits for its transaction.
"""

from collections import Counter as Sums
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from frontend.accounts.batch import Reserve
from frontend.accounts.holds import Hold
from frontend.accounts.limits import Key, Limit, Measure, left
from frontend.accounts.memory import Memory, Payer, rates_of
from frontend.accounts.prices import price_of
from frontend.accounts.quotas import Grant, Holds, Need
from frontend.accounts.rules import scopes_of
from frontend.domain.metering import Rate, Rates

_MARGIN = 8
_UNKNOWN = 2**62  # credits: more than anybody has
_Name = TypeVar("_Name")


@dataclass(slots=True)
class Quick:
    """The grants of this process that are not written yet."""

    memory: Memory
    _taken: Sums[Key] = field(default_factory=Sums)
    _promised: Sums[Payer] = field(default_factory=Sums)
    """Credits."""
    _tokens: Sums[str] = field(default_factory=Sums)
    """By subject: the most that requests may take whose transaction has not ended."""
    _requests: Sums[str] = field(default_factory=Sums)
    _credits: Sums[str] = field(default_factory=Sums)

    def grant(self, hold: Hold, need: Need, now_us: int) -> Grant | None:
        """Grants a request; None if it is not certain to fit."""
        if not self.memory.is_alone(now_us):
            return None
        rules = self.memory.rules_for(hold.row.owner, now_us)
        if rules is None:
            return None
        holds = tuple(
            (limit, need.prompt + need.output if _is_tokens(limit) else need.requests)
            for limit in rules.for_model(hold.row.model)
        )
        if not all(self._fits(limit, amount, now_us) for limit, amount in holds):
            return None
        if rules.payer is not None and need.requests:
            if (cost := self._cost(hold, rules.payer, now_us)) is None:
                return None
            if cost:
                hold.payer, hold.credits, hold.promised = rules.payer, cost, cost
                self._promised[rules.payer] += cost
        self.take(hold, holds)
        return Grant(holds, need.output)

    def waits(self, one: Reserve, now_us: int) -> None:
        """Notes that a transaction will decide about a request."""
        one.credits = self._most_credits(one, now_us)
        # of every subject: which of them has limits may change until then
        for _, subject in scopes_of(one.hold.row.owner):
            self._tokens[subject] += one.need.prompt + one.need.output
            self._requests[subject] += one.need.requests
            self._credits[subject] += one.credits

    def decided(self, one: Reserve) -> None:
        """Notes that the cached counters include what the transaction has granted."""
        for _, subject in scopes_of(one.hold.row.owner):
            _subtract(self._tokens, subject, one.need.prompt + one.need.output)
            _subtract(self._requests, subject, one.need.requests)
            _subtract(self._credits, subject, one.credits)

    def take(self, hold: Hold, holds: Holds) -> None:
        """Counts a grant that is not written, as the request's next reservation."""
        hold.taken[hold.next_id] = holds
        for limit, amount in holds:
            self._taken[limit.key] += amount

    def taken(self, limit: Limit) -> int:
        """The amount granted of a limit that is not in the cached counters."""
        return self._taken[limit.key]

    def unwritten(self) -> dict[Key, int]:
        """The amounts of all limits that are granted and not in the cached counters."""
        return dict(self._taken)

    def written(self, hold: Hold, part: str) -> None:
        """Notes that the cached counters include a reservation, or that it is never written."""
        for limit, amount in hold.taken.pop(part, ()):
            _subtract(self._taken, limit.key, amount)
        if hold.promised and part == hold.first_id:
            assert hold.payer is not None
            _subtract(self._promised, hold.payer, hold.promised)
            hold.promised = 0

    def withdraw(self, hold: Hold, part: str) -> None:
        """Withdraws a grant that could not be kept. The first one of a request has its credits."""
        is_paid = hold.promised and part == hold.first_id
        self.written(hold, part)
        if is_paid:
            hold.payer, hold.credits = None, 0

    def ended(self, hold: Hold) -> None:
        """Ends a request whose reservation is not in a counter: its slot is free immediately."""
        for part, holds in hold.taken.items():
            places = [one for one in holds if one[0].measure is Measure.CONCURRENCY]
            for limit, amount in places:
                _subtract(self._taken, limit.key, amount)
            hold.taken[part] = tuple(one for one in holds if one not in places)

    def rates(self, limits: Iterable[Limit], now_us: int) -> Rates:
        """The rates for the headers."""
        shown = list(limits)
        rates = rates_of(shown, self.memory.counters, now_us)
        taken = {
            measure: max((self._taken[o.key] for o in shown if o.measure is measure), default=0)
            for measure in (Measure.REQUESTS, Measure.TOKENS)
        }
        return Rates(
            _less(rates.requests, taken[Measure.REQUESTS]),
            _less(rates.tokens, taken[Measure.TOKENS]),
            now_us,
        )

    def _cost(self, hold: Hold, payer: Payer, now_us: int) -> int | None:
        """Credits of a request; None: only a transaction knows whether its payer has them."""
        memory, row = self.memory, hold.row
        purse = memory.purse_for(payer, now_us)
        if purse is None or not memory.has_prices(now_us):
            return None
        if not purse.pays:
            return 0
        cost = price_of(memory.prices, row.model, row.upstream, now_us).credits
        # an administrator may take credits back before this is written
        fits = purse.available - self._promised[payer] - self._credits[payer[1]] >= _MARGIN * cost
        return cost if fits else None

    def _most_credits(self, one: Reserve, now_us: int) -> int:
        if not one.need.requests:
            return 0
        row, memory = one.hold.row, self.memory
        if not memory.has_prices(now_us):
            return _UNKNOWN
        return price_of(memory.prices, row.model, row.upstream, now_us).credits

    def _fits(self, limit: Limit, amount: int, now_us: int) -> bool:
        counter = self.memory.counters.get(limit.key)
        if counter is None:
            return False
        # what a transaction grants just now is not in the counter yet
        asked = (self._tokens if _is_tokens(limit) else self._requests)[limit.subject]
        # a prompt's bytes are a poor bound, so it is counted where little is left
        margin = _MARGIN if _is_tokens(limit) else 1
        return left(limit, counter, now_us) - self._taken[limit.key] - asked >= margin * amount


def _subtract(sums: Sums[_Name], name: _Name, amount: int) -> None:
    sums[name] -= amount
    # names of subjects must not collect in memory
    if sums[name] <= 0:
        del sums[name]


def _is_tokens(limit: Limit) -> bool:
    return limit.measure is Measure.TOKENS


def _less(rate: Rate | None, taken: int) -> Rate | None:
    return rate and Rate(rate.limit, max(rate.remaining - taken, 0), rate.reset_us)
