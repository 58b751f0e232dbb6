"""Sends steps to Redis: steps that arrive while a call runs are sent together in the next one.

A step waits for one round trip, or at most for a few time limits. If Redis is new or was emptied,
this process first sends its running grants. It does not interpret steps.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from frontend.accounts.clock import Clock
from frontend.accounts.windows import SECOND_US
from frontend.errors import StoreUnavailable
from frontend.store.redis import SharedCounters

_RENEW_US = 5 * SECOND_US
_PROBE_S = 0.5
_MOST = 200
_MAX_SETTLES = 20_000
_log = logging.getLogger(__name__)

Step = list[Any]


@dataclass(slots=True, eq=False)
class _Ask:
    """A step that waits for its call. Nobody waits for the answer where `done` is None."""

    step: Step
    done: "asyncio.Future[list[int]] | None" = None


@dataclass(slots=True)
class Pipeline:
    """Create it inside the event loop that uses it."""

    counters: SharedCounters
    clock: Clock
    used: Callable[[], list[Step]]
    """What this process has used of the limits, for a Redis that has forgotten it."""
    leases: Callable[[], list[Step]]
    """Renews the places of running requests."""
    lost: Callable[[StoreUnavailable], None]
    """Called when Redis stops answering."""
    is_away: bool = False
    _epoch: str = ""
    _asks: list[_Ask] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _renewed_us: int = 0
    _ends: bool = False

    async def ask(self, step: Step) -> list[int]:
        """Runs a step and returns its values. Raises StoreUnavailable while Redis cannot be
        reached."""
        done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._asks.append(_Ask(step, done))
        self._wake.set()
        return await done

    def add(self, step: Step) -> None:
        """Sends a step later, without an answer. Never fails."""
        # of a Redis that stays away, what is forgotten ends by itself within a minute
        if len(self._asks) < _MAX_SETTLES:
            self._asks.append(_Ask(step))
            self._wake.set()

    async def run(self) -> None:
        """Calls Redis until it is ended."""
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
                _log.exception("a call to Redis failed")
                self._fail(StoreUnavailable("a call to Redis failed"))
                await asyncio.sleep(_PROBE_S)

    async def end(self, task: "asyncio.Task[None]") -> None:
        """Ends `run`, which is the task, and then sends what is left."""
        # not cancelled: redis-py 8.1 sometimes swallows that, and every call has a time limit
        self._ends = True
        self._wake.set()
        await task
        with suppress(StoreUnavailable):
            while self._asks and not self.is_away:
                await self._send()
        self._fail(StoreUnavailable("the gateway ends"))
        await self.counters.close()

    async def _work(self) -> None:
        """Everything that waits; or a look whether Redis is back."""
        if self.is_away:
            self._epoch = ""  # nobody knows what Redis has forgotten meanwhile
            await self._call([])
            self.is_away = False
            _log.warning("Redis is available again: the gateways count limits together again")
        if self.clock() - self._renewed_us >= _RENEW_US:
            await self._call(self.leases())
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
        first = [*self.used(), *self.leases()]
        again = await self.counters.run(replies.epoch, [*first, *steps])
        if again.epoch != replies.epoch:
            raise StoreUnavailable("Redis lost its data twice in a short time")
        self._epoch = again.epoch
        return again.values[len(first) :]

    def _lost(self, error: StoreUnavailable) -> None:
        if not self.is_away:
            self.lost(error)
        self.is_away = True
        self._fail(error)

    def _fail(self, error: StoreUnavailable) -> None:
        """Requests that wait continue without it; what is to be given back is kept."""
        waiting = [one for one in self._asks if one.done is not None]
        self._asks = [one for one in self._asks if one.done is None][-_MAX_SETTLES:]
        for one in waiting:
            if one.done is not None and not one.done.done():
                one.done.set_exception(error)
