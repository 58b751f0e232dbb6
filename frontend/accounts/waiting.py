"""How many requests of people wait for a decision of an administrator."""

from dataclasses import dataclass

from frontend.errors import StoreUnavailable
from frontend.store import accounts, allowances
from frontend.store.database import Database
from frontend.store.retention import now_us


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests for keys and for higher quotas."""

    key_requests: int
    quota_requests: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """The requests in one database."""

    database: Database

    async def count(self) -> Counts | None:
        """None while the database does not answer."""
        try:
            async with self.database.connect() as rows:
                keys = await accounts.count_pending(rows, now_us())
                more = await allowances.count_pending(rows, now_us())
        except (StoreUnavailable, TimeoutError):
            return None
        return Counts(keys, more)
