"""Keeps the canaries of this process as the database has them, and stores which targets failed.

A target that failed gets no more requests here at once; the other gateways follow the database. It
is stored as often as it takes, so that a restart does not forget it.
"""

import asyncio
import logging
from dataclasses import dataclass, field

from frontend.accounts.directory.canaries import MOST, Canaries
from frontend.errors import Conflict, StoreUnavailable
from frontend.generation.shares import Shares, Withdrawal
from frontend.store.canaries import CANARIES
from frontend.store.records import Range, Rows

_AGAIN_S = 2.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Rollout:
    """The canaries of one gateway process."""

    shares: Shares
    canaries: Canaries
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.shares.withdraw = self._withdraw

    async def read(self, rows: Rows) -> None:
        """Follows what was changed. Raises StoreUnavailable."""
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

    async def close(self) -> None:
        """Ends what could not be stored."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
