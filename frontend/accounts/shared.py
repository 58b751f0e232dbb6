"""Rates and running requests that all gateways count together in Redis, in one step per request.

What waits while a call runs goes into the next one, so a request waits for one round trip, or for
a few time limits at most. Without Redis each gateway gives its share (`accounts.share`). What lasts
longer than a minute (budgets, requests per day, credits) is counted in the database alone.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from frontend.accounts.clock import Clock
from frontend.accounts.limits import Counter, Key, Limit, Measure, cost_us
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
_RENEW_US = 5 * SECOND_US
_PROBE_S = 0.5
_MOST = 200
_MAX_SETTLES = 20_000
_log = logging.getLogger(__name__)

Step = list[Any]
Counters = dict[Key, Counter]


@dataclass(slots=True)
class _Taken:
    """What a request has. `own` is the same at this process's share; `name` its name in Redis."""

    name: str
    holds: Holds
    own: Holds


@dataclass(slots=True, eq=False)
class _Ask:
    """A step that waits for its call. Nobody waits for the answer where `done` is None."""

    step: Step
    done: "asyncio.Future[list[int]] | None" = None


@dataclass(slots=True)
class Shared:
    """Create it inside the event loop that uses it."""

    counters: SharedCounters
    share: Share
    clock: Clock = field(default_factory=Clock)
    is_away: bool = False
    _epoch: str = ""
    _asks: list[_Ask] = field(default_factory=list)
    _taken: dict[str, _Taken] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _renewed_us: int = 0
    _ends: bool = False

    async def reserve(
        self, request_id: str, limits: Sequence[Limit], need: Need
    ) -> tuple[Grant | Refusal | Tight, Counters]:
        """Reserves in all of the limits or in none, once for each id. What they have left is in
        the counters. Raises StoreUnavailable."""
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
        """Gives back what was not used. Never waits; the second time it does nothing."""
        if (taken := self._taken.pop(request_id, None)) is None:
            return
        self.share.settle(taken.own, tokens, self.clock())
        self._give_back(taken.name, taken.holds, tokens)

    async def read(self, limits: Sequence[Limit]) -> Counters:
        """What the limits have left."""
        if limits and not self.is_away:
            with suppress(StoreUnavailable):
                rows = [_row(limit, Need(0, requests=0), 0, takes=False) for limit in limits]
                values = await self._ask(["reserve", "", hold_key(""), rows])
                return _counters(limits, values[1:], self.clock())
        now_us = self.clock()
        return {one.key: self.share.counter(one, now_us) for one in limits}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Calls Redis until the block ends, and then gives back what is left."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            # not cancelled: redis-py 8.1 sometimes swallows that, and every call has a time limit
            self._ends = True
            self._wake.set()
            await task
            with suppress(StoreUnavailable):
                while self._asks and not self.is_away:
                    await self._send()
            self._fail(StoreUnavailable("the gateway ends"))
            await self.counters.close()

    async def _reserve(
        self, request_id: str, limits: Sequence[Limit], need: Need
    ) -> tuple[Grant | Refusal | Tight, Counters]:
        output, lowered_by = _lowered(limits, need)
        rows = [_row(limit, need, output, takes=True) for limit in limits]
        amounts = [(limit, amount_of(limit, need, output)) for limit in limits]
        holds = tuple(one for one in amounts if one[1])
        try:
            values = await self._ask(["reserve", request_id, hold_key(request_id), rows])
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
        # of a Redis that stays away, what is forgotten ends by itself within a minute
        if rows and len(self._asks) < _MAX_SETTLES:
            self._asks.append(_Ask(["settle", request_id, hold_key(request_id), rows]))
            self._wake.set()

    async def _ask(self, step: Step) -> list[int]:
        done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._asks.append(_Ask(step, done))
        self._wake.set()
        return await done

    async def _run(self) -> None:
        while not self._ends:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PROBE_S):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._work()
            except StoreUnavailable as error:
                self._lost(error)
                await asyncio.sleep(_PROBE_S)
            except Exception:
                _log.exception("a call of Redis failed")
                self._fail(StoreUnavailable("a call of Redis failed"))
                await asyncio.sleep(_PROBE_S)

    async def _work(self) -> None:
        """Everything that waits; or a look whether Redis is back."""
        if self.is_away:
            self._epoch = ""  # nobody knows what Redis has forgotten meanwhile
            await self._call([])
            self.is_away = False
            _log.warning("Redis answers: limits are counted together again")
        if self.clock() - self._renewed_us >= _RENEW_US:
            await self._call(self._slots())
            self._renewed_us = self.clock()
        while self._asks:
            await self._send()

    async def _send(self) -> None:
        asks, self._asks = self._asks[:_MOST], self._asks[_MOST:]
        try:
            values = await self._call([one.step for one in asks])
        except BaseException:
            self._asks[:0] = asks
            raise
        for one, value in zip(asks, values, strict=True):
            if one.done is not None and not one.done.done():
                one.done.set_result(value)

    async def _call(self, steps: list[Step]) -> list[Any]:
        replies = await self.counters.run(self._epoch, steps)
        if replies.epoch == self._epoch:
            return replies.values
        # a Redis that is new or was emptied, first learns what this process has given
        first = [*self._used(), *self._slots()]
        again = await self.counters.run(replies.epoch, [*first, *steps])
        if again.epoch != replies.epoch:
            raise StoreUnavailable("Redis was emptied twice within a moment")
        self._epoch = again.epoch
        return again.values[len(first) :]

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
        if not self.is_away:
            text = "Redis is not available; this gateway gives 1/%d of each limit meanwhile: %s"
            _log.error(text, self.share.parts, error.reason)
        self.is_away = True
        self._fail(error)

    def _fail(self, error: StoreUnavailable) -> None:
        """Who waits goes on alone; what is to be given back is kept."""
        waiting = [one for one in self._asks if one.done is not None]
        self._asks = [one for one in self._asks if one.done is None][-_MAX_SETTLES:]
        for one in waiting:
            if one.done is not None and not one.done.done():
                one.done.set_exception(error)


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
