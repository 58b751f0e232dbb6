"""Grants from memory what is certain to fit, and has it written down with the next transaction.

Certain is what every limit has many times over, by counters that are new. A gateway that is alone
counts everything itself, so there a smaller margin is enough. What is granted here and not written
yet counts as taken. Everything else waits for its transaction.
"""

from collections import Counter as Sums
from collections.abc import Iterable
from dataclasses import dataclass, field

from frontend.accounts.holds import Hold
from frontend.accounts.limits import Key, Limit, Measure, left
from frontend.accounts.memory import Memory, rates_of
from frontend.accounts.quotas import Grant, Holds, Need
from frontend.accounts.windows import SECOND_US
from frontend.domain.metering import Rate, Rates

_NEW_US = SECOND_US
_MARGIN = 64
_MARGIN_ALONE = 8


@dataclass(slots=True)
class Quick:
    """`gateways`: how many were alive when that was last read."""

    memory: Memory
    # the careful assumption, until the first sweep has counted them
    gateways: int = 2
    _taken: Sums[Key] = field(default_factory=Sums)

    def grant(self, hold: Hold, need: Need, now_us: int) -> Grant | None:
        """None: it is not certain."""
        rules = self.memory.rules_for(hold.row.owner, now_us)
        # only the transaction knows a balance of credits
        if rules is None or rules.payer is not None:
            return None
        holds = tuple(
            (limit, need.prompt + need.output if _is_tokens(limit) else need.requests)
            for limit in rules.for_model(hold.row.model)
        )
        if not all(self._fits(limit, amount, now_us) for limit, amount in holds):
            return None
        for limit, amount in holds:
            self._taken[limit.key] += amount
        return Grant(holds, need.output)

    def written(self, holds: Holds) -> None:
        """Grants that the counters of the memory now have, too."""
        for limit, amount in holds:
            self._taken[limit.key] -= amount
            # names of subjects must not collect in memory
            if self._taken[limit.key] <= 0:
                del self._taken[limit.key]

    def rates(self, limits: Iterable[Limit], now_us: int) -> Rates:
        """For the headers."""
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

    def _fits(self, limit: Limit, amount: int, now_us: int) -> bool:
        counter = self.memory.counters.get(limit.key)
        if counter is None:
            return False
        margin = _MARGIN_ALONE if _is_tokens(limit) else 1
        if self.gateways != 1:
            # other gateways may have used a part of it since it was read
            margin = _MARGIN
            if now_us - self.memory.read_us.get(limit.key, 0) > _NEW_US:
                return False
        return left(limit, counter, now_us) - self._taken[limit.key] >= margin * amount


def _is_tokens(limit: Limit) -> bool:
    return limit.measure is Measure.TOKENS


def _less(rate: Rate | None, taken: int) -> Rate | None:
    return rate and Rate(rate.limit, max(rate.remaining - taken, 0), rate.reset_us)
