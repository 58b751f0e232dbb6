"""Counts rates and running requests of all gateways in Redis, in one step per request.

Without Redis each gateway grants its share (`accounts.share`). Limits over more than a minute
(budgets, requests per day, credits) are only counted in the database. `accounts.pipeline` sends the
steps.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from frontend.accounts.clock import Clock
from frontend.accounts.limits import Counter, Key, Limit, Measure, cost_us
from frontend.accounts.pipeline import Pipeline, Step
from frontend.accounts.quotas import (
    PLENTY,
    Grant,
    Holds,
    Need,
    Refusal,
    Tight,
    amount_of,
    needed_of,
    reserve,
    used_of,
)
from frontend.accounts.share import Share
from frontend.accounts.windows import MINUTE_US, SECOND_US, Kind
from frontend.errors import StoreUnavailable
from frontend.store.redis import (
    Place,
    SharedCounters,
    hold_key,
    place_of_rate,
    place_of_slots,
)

LEASE_US = 20 * SECOND_US
"""Of a running request's place: after a gateway is killed it is free this much later."""
_log = logging.getLogger(__name__)

Counters = dict[Key, Counter]


@dataclass(slots=True)
class _Taken:
    """What a request has. `own` is the same at this process's share; `name` its name in Redis."""

    name: str
    holds: Holds
    own: Holds


@dataclass(slots=True)
class Shared:
    """The limits in one Redis. Create it inside the event loop that uses it."""

    counters: SharedCounters
    share: Share
    clock: Clock = field(default_factory=Clock)
    _pipeline: Pipeline = field(init=False)
    _taken: dict[str, _Taken] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._pipeline = Pipeline(self.counters, self.clock, self._used, self._slots, self._lost)

    @property
    def is_away(self) -> bool:
        """Whether Redis does not answer."""
        return self._pipeline.is_away

    async def reserve(
        self, request_id: str, limits: Sequence[Limit], need: Need
    ) -> tuple[Grant | Refusal | Tight, Counters]:
        """Reserves in all of the limits or in none, once for each id. The counters say what is
        left. Raises StoreUnavailable if the database cannot be reached, but not if only Redis is
        away.
        """
        if not limits:
            return Grant((), need.output), {}
        if not self.is_away:
            with suppress(StoreUnavailable):
                return await self._reserve(request_id, limits, need)
        now_us = self.clock()
        answer, own = self.share.reserve(limits, need, now_us)
        if isinstance(answer, Grant):
            # another name, since the attempt in Redis, which may have succeeded, is taken back
            self._taken[request_id] = _Taken(f"{request_id}~", answer.holds, own)
        return answer, {one.key: self.share.counter(one, now_us) for one in limits}

    def settle(self, request_id: str, tokens: int | None) -> None:
        """Refunds what was not used. Never waits; a second call has no effect."""
        if (taken := self._taken.pop(request_id, None)) is None:
            return
        self.share.settle(taken.own, tokens, self.clock())
        self._give_back(taken.name, taken.holds, tokens)

    async def read(self, limits: Sequence[Limit]) -> Counters:
        """Reads what the limits have left."""
        if limits and not self.is_away:
            with suppress(StoreUnavailable):
                rows = [_row(limit, Need(0, requests=0), 0, takes=False) for limit in limits]
                values = await self._pipeline.ask(["reserve", "", hold_key(""), rows])
                return _counters(limits, values[1:], self.clock())
        now_us = self.clock()
        return {one.key: self.share.counter(one, now_us) for one in limits}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Calls Redis until the block ends, and then gives back what is left."""
        task = asyncio.create_task(self._pipeline.run())
        try:
            yield
        finally:
            await self._pipeline.end(task)

    async def _reserve(
        self, request_id: str, limits: Sequence[Limit], need: Need
    ) -> tuple[Grant | Refusal | Tight, Counters]:
        output, lowered_by = _lowered(limits, need)
        rows = [_row(limit, need, output, takes=True) for limit in limits]
        amounts = [(limit, amount_of(limit, need, output)) for limit in limits]
        holds = tuple(one for one in amounts if one[1])
        try:
            values = await self._pipeline.ask(["reserve", request_id, hold_key(request_id), rows])
        except BaseException:
            # it may have been carried out anyway
            self._give_back(request_id, holds, None)
            raise
        now_us = self.clock()
        counters = _counters(limits, values[1:], now_us)
        if values[0] == 0:
            self._taken[request_id] = _Taken(request_id, holds, self.share.note(holds, now_us))
            return Grant(holds, output, lowered_by), counters
        # the pure rules name the limit; they decide on copies
        copies = {key: replace(counter) for key, counter in counters.items()}
        answer = reserve(limits, copies, replace(need, estimated=values[0] == 2), now_us)
        if isinstance(answer, Grant):  # it drained between the two looks
            answer = Refusal(limits[0], 0, 1, now_us, SECOND_US, SECOND_US)
        return answer, counters

    def _give_back(self, request_id: str, holds: Holds, tokens: int | None) -> None:
        rows = [
            [
                *_place(limit),
                cost_us(limit, amount) - cost_us(limit, used_of(limit, amount, tokens)),
            ]
            if limit.window.kind is Kind.RATE
            else [*_place(limit), 0]
            for limit, amount in holds
        ]
        if rows:
            self._pipeline.add(["settle", request_id, hold_key(request_id), rows])

    def _used(self) -> list[Step]:
        rows = [
            # at its share's speed, which is slower, so rather too much
            [*_place_of(key), MINUTE_US, used_us // self.share.parts]
            for key, used_us in self.share.used(self.clock())
        ]
        return [["add", rows]] if rows else []

    def _slots(self) -> list[Step]:
        rows = [
            [_place(limit).key, taken.name]
            for taken in self._taken.values()
            for limit, _ in taken.holds
            if limit.measure is Measure.CONCURRENCY
        ]
        return [["renew", rows]] if rows else []

    def _lost(self, error: StoreUnavailable) -> None:
        text = "Redis is not available; until it is, this gateway uses 1/%d of each limit: %s"
        _log.error(text, self.share.parts, error.reason)


def _lowered(limits: Iterable[Limit], need: Need) -> tuple[int, Limit | None]:
    """The answer that the limits could ever send, as `quotas.reserve` lowers it."""
    output, lowered_by = need.output, None
    for limit in limits:
        most = limit.amount - need.prompt
        if limit.measure is Measure.TOKENS and most < output:
            output, lowered_by = most, limit
    return output, lowered_by


def _row(limit: Limit, need: Need, output: int, *, takes: bool) -> list[Any]:
    """As the script reads it: place, amount, needed, taken, plenty, length, cost."""
    amount = amount_of(limit, need, output) if takes else 0
    is_tokens = limit.measure is Measure.TOKENS
    plenty = PLENTY * (need.prompt + need.output) if need.estimated and is_tokens else 0
    needed = needed_of(limit, need) if takes else 0
    length_us = limit.window.length_us
    cost = cost_us(limit, amount) if length_us else 0
    if not plenty:
        plenty = -(10**15)  # nothing has less left
    return [*_place(limit), limit.amount, needed, amount, plenty, length_us, cost]


def _counters(limits: Sequence[Limit], values: Sequence[int], now_us: int) -> Counters:
    return {
        limit.key: Counter(at_us=now_us + value if value else 0)
        if limit.window.kind is Kind.RATE
        else Counter(reserved=value)
        for limit, value in zip(limits, values, strict=True)
    }


def _place(limit: Limit) -> Place:
    return _place_of(limit.key)


def _place_of(key: Key) -> Place:
    scope, subject, model, measure, window = key
    if measure == Measure.CONCURRENCY:
        return place_of_slots(scope, subject, model)
    return place_of_rate(scope, subject, model, measure, window)
