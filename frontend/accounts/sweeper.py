"""Registers a gateway, and settles the reservations of gateways that ended.

Requests in a dead process's journal are settled exactly, as soon as it is found. Other reservations
are settled when its lease has ended, at the counts that were written last.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from frontend.accounts.batch import Batch, apply, sweep
from frontend.accounts.clock import Clock
from frontend.accounts.holds import Hold
from frontend.accounts.memory import LEASE_US, RULES_US, Memory
from frontend.accounts.recovery import read_holds
from frontend.accounts.share import Share
from frontend.accounts.windows import SECOND_US
from frontend.domain.metering import UsageRow
from frontend.errors import StoreUnavailable
from frontend.store.journal import abandoned, next_abandoned
from frontend.store.ledger.books import LedgerStore

_SWEEP_S = 15.0
_MOST = 1000
_log = logging.getLogger(__name__)


Settled = Callable[[Sequence[UsageRow]], Awaitable[None]]


async def ignore(_: Sequence[UsageRow]) -> None:
    """Ignores settled requests, if no audit needs them."""


@dataclass(slots=True)
class Sweeper:
    """`folder`: of the journals of all processes on this machine."""

    store: LedgerStore
    memory: Memory
    clock: Clock
    charged: Callable[[UsageRow], None]
    folder: Path | None = None
    share: Share | None = None
    """What a gateway may grant while Redis is away."""
    settled: Settled = ignore
    """Called after each sweep with the requests of dead gateways that it has charged."""
    _charged: list[UsageRow] = field(default_factory=list)

    async def join(self) -> None:
        """Registers this gateway, and waits until one that served alone has seen it."""
        with suppress(StoreUnavailable):
            await self._renew(self.clock())
            if self.memory.gateways > 1:
                await asyncio.sleep(2 * RULES_US / SECOND_US)

    async def run(self) -> None:
        """Sweeps until it is cancelled."""
        while True:
            try:
                await self.sweep(self.clock())
            except StoreUnavailable as error:
                _log.warning("expired reservations cannot be released: %s", error.reason)
            except Exception:
                _log.exception("expired reservations cannot be released")
            await asyncio.sleep(_SWEEP_S)

    async def sweep(self, now_us: int) -> None:
        """Sweeps once. Raises StoreUnavailable while the database cannot be reached."""
        await self._renew(now_us)
        if self.folder is not None:
            # only of dead processes: a living one holds the locks of its own
            with closing(abandoned(self.folder)) as files:
                while (lines := await next_abandoned(files)) is not None:
                    await self._recover(lines, now_us)
        while holds := await self.store.write(lambda books: sweep(books, self.memory, now_us)):
            self._count(holds)
            _log.warning("settled %d requests of gateways that ended", len(holds))
        await self.settled(self._charged)
        # kept until then, so that a database that goes away in between loses none
        self._charged.clear()

    async def _renew(self, now_us: int) -> None:
        memory, until_us = self.memory, now_us + LEASE_US
        memory.gateways = await self.store.write(
            lambda books: books.renew_gateway(memory.gateway_id, now_us, until_us)
        )
        memory.gateways_read_us, memory.lease_until_us = now_us, until_us
        if self.share is not None:
            self.share.gateways = memory.gateways

    async def _recover(self, lines: list[bytes], now_us: int) -> None:
        """Settles what a dead process had granted or settled, and not written."""
        holds = read_holds(lines, now_us)
        for start in range(0, len(holds), _MOST):
            batch = Batch(settles=holds[start : start + _MOST], is_repeated=True)
            await self.store.write(partial(apply, batch=batch, memory=self.memory, now_us=now_us))
            self._count(batch.settles)
        if holds:
            _log.warning("read %d requests in the journal of a process that ended", len(holds))

    def _count(self, holds: list[Hold]) -> None:
        for hold in holds:
            if hold.is_charged:
                self.charged(hold.row)
                self._charged.append(hold.row)
