"""Keeps the canaries of this process as the database has them, and stores which targets failed.

A target that failed gets no more requests here at once; the other gateways follow the database. It
is stored as often as it takes, so that a restart does not forget it. While there are canaries, each
gateway says in the database what it saw of them, and reads what the others saw.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from frontend.accounts.directory.canaries import MOST, Canaries
from frontend.background import in_background
from frontend.domain.canaries import Result
from frontend.errors import Conflict, StoreUnavailable
from frontend.generation.shares import RECENT_S, Shares, Withdrawal
from frontend.store.canaries import CANARIES, forget_reports, read_reports, report
from frontend.store.records import Range, Rows

_AGAIN_S = 2.0
_REPORT_S, _REPEAT_S, _TIMEOUT_S = 1.0, 20.0, 3.0
_ENDED_S = 60.0
"""A gateway that said nothing for so long has ended, and what it saw with it."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Rollout:
    """The canaries of one gateway process."""

    shares: Shares
    canaries: Canaries
    gateway_id: str
    _said: list[Result] = field(default_factory=list)
    _said_s: float = -1e9
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.shares.withdraw = self._withdraw

    async def read(self, rows: Rows) -> None:
        """Applies the stored canaries. Raises StoreUnavailable while the database cannot be
        reached."""
        self.shares.follow(await CANARIES.page(rows, Range(MOST)))

    def _withdraw(self, one: Withdrawal) -> None:
        task = asyncio.create_task(self._store(one))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _store(self, one: Withdrawal) -> None:
        while True:
            try:
                await self.canaries.withdraw(one.canary, one.target, one.reason)
            except (StoreUnavailable, TimeoutError, Conflict) as error:
                _log.error("the withdrawal of %s is not stored yet: %s", one.target, error)
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    @asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """Exchanges results with the other gateways until the block ends."""
        async with in_background(self._report()):
            yield

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_S)
            if self.shares.rules:
                with suppress(StoreUnavailable, TimeoutError):
                    await self.exchange()

    async def exchange(self) -> None:
        """Stores this gateway's results if they changed, and reads those of others. Raises
        StoreUnavailable or TimeoutError while the database does not answer."""
        database, now_us = self.canaries.changes.database, self.canaries.changes.now_us()
        seen, now_s = self.shares.results(), time.monotonic()
        async with asyncio.timeout(_TIMEOUT_S):
            if seen != self._said or now_s - self._said_s >= _REPEAT_S:
                async with database.begin() as rows:
                    await report(rows, self.gateway_id, seen, now_us)
                    await forget_reports(rows, now_us - int(RECENT_S * 1e6))
                self._said, self._said_s = seen, now_s
            async with database.connect() as rows:
                since_us = now_us - int(_ENDED_S * 1e6)
                others = await read_reports(rows, self.gateway_id, since_us)
        self.shares.learn(others)

    async def close(self) -> None:
        """Ends what could not be stored."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
