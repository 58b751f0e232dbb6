"""Transactions over the ledger's tables.

Rows in, rows out: what they mean is decided in `accounts`. Locks are always taken in the same
order, reservations before counters before subscriptions before credit accounts, each by its key, so
two gateways never wait for each other.
"""

from collections.abc import Callable
from typing import TypeVar

from frontend.store.database import Database
from frontend.store.ledger.counters import Counters
from frontend.store.ledger.credits import Credits
from frontend.store.ledger.reservations import Reservations

T = TypeVar("T")


class Books(Counters, Reservations, Credits):
    """The tables in one transaction."""


class LedgerStore:
    """Runs functions in transactions. Raises StoreUnavailable, as `Database` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, work: Callable[[Books], T]) -> T:
        """Commits what the function does, or nothing."""
        async with self._database.begin() as connection:
            return await connection.run_sync(lambda sync: work(Books(sync)))

    async def read(self, work: Callable[[Books], T]) -> T:
        """For functions that only read."""
        async with self._database.connect() as connection:
            return await connection.run_sync(lambda sync: work(Books(sync)))
