"""How many requests of people wait for a decision of an administrator."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from frontend.errors import StoreUnavailable
from frontend.store import accounts, allowances
from frontend.store.database import Database


def _now_us() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests for keys, and for more."""

    key_requests: int
    quota_requests: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """The requests in one database."""

    database: Database
    now_us: Callable[[], int] = _now_us

    async def count(self) -> Counts | None:
        """None while the database does not answer."""
        try:
            async with self.database.connect() as rows:
                keys = await accounts.count_pending(rows, self.now_us())
                more = await allowances.count_pending(rows, self.now_us())
        except (StoreUnavailable, TimeoutError):
            return None
        return Counts(keys, more)
