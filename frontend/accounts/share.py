"""This process's share of the limits in Redis, for times when Redis cannot be reached. Pure.

All grants are counted here, also those of Redis, so a process without Redis never grants more than
limit/N in a window, including its earlier grants. N is the number of gateways.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from frontend.accounts.limits import Counter, Key, Limit, left, take
from frontend.accounts.quotas import Grant, Holds, Need, Refusal, Tight, reserve, settle_all
from frontend.errors import StoreUnavailable

_MANY = 20_000  # subjects with limits that are remembered


@dataclass(slots=True)
class Share:
    """`gateways`: how many were alive when that was last read, at least `least`."""

    least: int = 1
    gateways: int = 1
    _counters: OrderedDict[Key, Counter] = field(default_factory=OrderedDict)

    @property
    def parts(self) -> int:
        """The number of shares: the number of gateways, at least `least`."""
        return max(self.least, self.gateways, 1)

    def note(self, holds: Holds, now_us: int) -> Holds:
        """Counts a grant of Redis; returns what to settle here."""
        own = tuple((self._own(limit), amount) for limit, amount in holds)
        for limit, amount in own:
            take(limit, self._counter(limit), amount, now_us)
        return own

    def reserve(
        self, limits: Sequence[Limit], need: Need, now_us: int
    ) -> tuple[Grant | Refusal | Tight, Holds]:
        """Reserves in this process's share; returns the answer and what to settle here.

        Raises StoreUnavailable for what is more than a share and would fit the whole limit.
        """
        own = [self._own(limit) for limit in limits]
        answer = reserve(own, {one.key: self._counter(one) for one in own}, need, now_us)
        whole = {limit.key: limit for limit in limits}
        if isinstance(answer, Refusal):
            limit = whole[answer.limit.key]
            if answer.wait_us is None and answer.needed <= limit.amount:
                raise StoreUnavailable(
                    "Redis is not available, and the request exceeds this gateway's share of the"
                    " limit"
                )
            return replace(answer, limit=limit), ()
        if isinstance(answer, Tight):
            return answer, ()
        holds = tuple((whole[limit.key], amount) for limit, amount in answer.holds)
        lowered = answer.lowered_by and whole[answer.lowered_by.key]
        return Grant(holds, answer.output, lowered), answer.holds

    def settle(self, own: Holds, tokens: int | None, now_us: int) -> None:
        """Ends what was noted or reserved here. `tokens` of None: it never ran."""
        kept = [one for one in own if one[0].key in self._counters]
        settle_all(kept, self._counters, tokens, now_us)

    def counter(self, limit: Limit, now_us: int) -> Counter:
        """A counter of the whole limit with the amount that this process may still grant."""
        own = self._own(limit)
        free = max(left(own, self._counter(own), now_us), 0)
        shown = Counter()
        take(limit, shown, limit.amount - free, now_us)
        return shown

    def used(self, now_us: int) -> Iterator[tuple[Key, int]]:
        """How long each rate that is not whole needs for it at its own speed."""
        for key, counter in self._counters.items():
            if counter.at_us > now_us:
                yield key, counter.at_us - now_us

    def _own(self, limit: Limit) -> Limit:
        return replace(limit, amount=limit.amount // self.parts)

    def _counter(self, limit: Limit) -> Counter:
        counter = self._counters.setdefault(limit.key, Counter())
        self._counters.move_to_end(limit.key)
        while len(self._counters) > _MANY:
            self._counters.popitem(last=False)
        return counter
