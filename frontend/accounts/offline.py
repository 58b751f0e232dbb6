"""Grants requests for a minute while the database cannot be reached, from this process's share.

A process may use 1/N of what each limit had left when the database was last reached, where N is the
number of gateways then. After a minute callers with limits are refused; callers who pay with
credits are refused immediately. When the database is back, running requests are written as
reservations, and ended ones are charged.
"""

from dataclasses import dataclass, field, replace

from frontend.accounts.holds import Hold
from frontend.accounts.limits import Counter, Key, Limit, left, settle, take
from frontend.accounts.memory import Memory
from frontend.accounts.quick import Quick
from frontend.accounts.quotas import Grant, Need, Tight, reserve
from frontend.accounts.refusals import refusal_of
from frontend.accounts.windows import SECOND_US
from frontend.errors import StoreUnavailable

GRACE_US = 60 * SECOND_US


@dataclass(slots=True)
class Offline:
    """The requests that this process granted during an outage."""

    memory: Memory
    quick: Quick
    _seen_us: int = 0
    _counters: dict[Key, Counter] = field(default_factory=dict)

    def back(self, now_us: int) -> None:
        """The database can be reached again."""
        self._seen_us = now_us
        self._counters.clear()

    def reserve(self, hold: Hold, need: Need, now_us: int) -> Grant:
        """Raises RateLimited or QuotaExceeded if a limit has too little left; StoreUnavailable
        where too little is known."""
        known = self.memory.rules.get(hold.row.owner)
        if known is None or hold.parts or now_us - self._seen_us > GRACE_US:
            raise StoreUnavailable("the ledger cannot be read")
        rules = known[1]
        if rules.is_unlimited:
            return Grant((), need.output)
        limits = rules.for_model(hold.row.model)
        # a balance of credits cannot be divided among gateways
        if rules.payer is not None or any(one.key not in self.memory.counters for one in limits):
            raise StoreUnavailable("the ledger cannot be read")
        counters = {limit.key: self._counter(limit, now_us) for limit in limits}
        for limit in limits:
            self._lower(limit, counters[limit.key], now_us)
        answer = reserve(limits, counters, replace(need, estimated=False), now_us)
        assert not isinstance(answer, Tight)
        if not isinstance(answer, Grant):
            raise refusal_of(answer, now_us)
        hold.is_offline = True
        self.quick.take(hold, answer.holds)
        return answer

    def release(self, hold: Hold, now_us: int) -> None:
        """Ends a request that was granted here: its slot is free, its tokens are used."""
        for holds in hold.parts.values():
            for limit, amount in holds:
                if (counter := self._counters.get(limit.key)) is not None:
                    # all of it counts as used, which is the safe side for a minute
                    settle(limit, counter, amount, amount, now_us)

    def _lower(self, limit: Limit, counter: Counter, now_us: int) -> None:
        """Takes from the share what was granted from memory since it was made."""
        seen = left(limit, self.memory.counters[limit.key], now_us) - self.quick.taken(limit)
        if (more := left(limit, counter, now_us) - max(seen, 0)) > 0:
            take(limit, counter, more, now_us)

    def _counter(self, limit: Limit, now_us: int) -> Counter:
        """This process's share, from the first time that it is needed."""
        if (counter := self._counters.get(limit.key)) is None:
            seen = self.memory.counters[limit.key]
            counter = self._counters[limit.key] = replace(seen, buckets=dict(seen.buckets))
            free = max(left(limit, counter, now_us) - self.quick.taken(limit), 0)
            mine = free // max(self.memory.gateways, 1)
            # what was granted before, and what other gateways may use, counts as taken
            take(limit, counter, max(left(limit, counter, now_us), 0) - mine, now_us)
        return counter
