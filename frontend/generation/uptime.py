"""How much of the last 90 days models answered, from a check in each minute.

A minute without a check counts as down, from the first check on: a gateway that does not run
cannot answer. Days are those of UTC.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from frontend.background import in_background
from frontend.errors import StoreUnavailable
from frontend.store.retention import now_us
from frontend.store.uptime import HOUR_US, MINUTE_US, Hour, UptimeStore

DAYS = 90
_DAY_US = 24 * HOUR_US
_CHECK_S, _FRESH_S = 60.0, 60.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Day:
    """`share` is the part of the minutes in which models answered; None before the first check."""

    date: str
    share: float | None


@dataclass(slots=True)
class Uptime:
    """Checks every minute, and reads the history at most as often."""

    store: UptimeStore
    is_ready: Callable[[], bool]
    now_us: Callable[[], int] = now_us
    clock: Callable[[], float] = time.monotonic
    _days: list[Day] = field(default_factory=list)
    _read_s: float = -1e9
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def days(self) -> list[Day]:
        """The last 90 days, the oldest first; empty while there is no history to read."""
        # everybody may open the page: it must not cost a read each
        async with self._turn:
            if self.clock() - self._read_s >= _FRESH_S:
                self._read_s = self.clock()
                with suppress(StoreUnavailable):
                    self._days = days_of(await self.store.read(), self.now_us())
        return self._days

    async def check(self) -> None:
        """Notes this minute."""
        try:
            await self.store.note(self.now_us(), ready=self.is_ready())
        except StoreUnavailable as error:
            _log.warning("the uptime of this minute was not stored: %s", error)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Checks until the block ends."""
        async with in_background(self._follow()):
            yield

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_S)
            await self.check()


def days_of(hours: Sequence[Hour], now_us: int) -> list[Day]:
    """The share of each of the last 90 days. The minute that runs does not count yet. Pure."""
    known = {hour.hour_us: hour.ready for hour in hours}
    if not hours:
        return []
    first = hours[0]
    # the lowest bit: the first minute that was ever checked
    began_us = first.hour_us + ((first.checked & -first.checked).bit_length() - 1) * MINUTE_US
    today_us = now_us - now_us % _DAY_US
    days = []
    for start_us in range(today_us - (DAYS - 1) * _DAY_US, today_us + 1, _DAY_US):
        end_us = min(start_us + _DAY_US, now_us - now_us % MINUTE_US)
        minutes = (end_us - max(start_us, began_us)) // MINUTE_US
        date = datetime.fromtimestamp(start_us / 1e6, UTC).date().isoformat()
        if minutes <= 0:
            days.append(Day(date, None))
            continue
        up = sum(known.get(start_us + n * HOUR_US, 0).bit_count() for n in range(24))
        days.append(Day(date, min(1.0, up / minutes)))
    return days
