"""Bounds of bytes and time for tables whose rows expire, such as stored responses.

The bound of bytes is that of the whole table. Each gateway process removes what is too much after
it has added a tenth of the bound, so the table exceeds it by at most a tenth for each process.
"""

import time
from dataclasses import dataclass

from sqlalchemy import Table, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

_PERIOD_S = 60


@dataclass(slots=True)
class Retention:
    """`table` has `created_at_us`, `expires_at_us` and `size_bytes`."""

    table: Table
    max_bytes: int
    _added_bytes: int = 0
    _next_s: float = 0

    async def added(self, connection: AsyncConnection, size_bytes: int) -> None:
        """To be called in the transaction that adds a row: makes room when it is due."""
        self._added_bytes += size_bytes
        if self._added_bytes > self.max_bytes // 10 or time.time() >= self._next_s:
            await self._make_room(connection)
            self._added_bytes = 0
            self._next_s = time.time() + _PERIOD_S

    async def _make_room(self, connection: AsyncConnection) -> None:
        rows = self.table.c
        await connection.execute(delete(self.table).where(rows.expires_at_us <= now_us()))
        # a running sum from the newest row on: the rows beyond the bound are those to go
        newer = func.sum(rows.size_bytes).over(order_by=rows.created_at_us.desc())
        totals = select(rows.created_at_us, newer.label("total")).subquery()
        last = select(func.max(totals.c.created_at_us)).where(totals.c.total > self.max_bytes)
        await connection.execute(
            delete(self.table).where(rows.created_at_us <= last.scalar_subquery())
        )


def now_us() -> int:
    """The instant that it is, as the tables have it."""
    return time.time_ns() // 1000
