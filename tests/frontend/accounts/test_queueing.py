"""Two gateways that count in the same rows of PostgreSQL take turns, and no queue grows."""

import asyncio

from sqlalchemy import text

from frontend.accounts.ledger import Ledger
from frontend.accounts.quotas import Grant, Need
from frontend.domain.metering import Owner
from frontend.store.database import Database
from tests.support.databases import Databases
from tests.support.ledgers import (
    add_quota,
    check_books,
    counted,
    drained,
    hold_of,
    ledger_of,
    used,
)

_CLIENTS, _EACH, _USERS = 64, 6, 10
_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")


async def test_at_most_one_transaction_of_a_gateway_waits_for_a_row(databases: Databases) -> None:
    """However many requests there are: all of them are in one transaction, in which each counter is
    locked once."""
    database, looks = Database(databases.postgres()), []
    await add_quota(database, "tokens", "month", 10**6, scope_kind="group", scope_id="team")
    for number in range(_USERS):
        await add_quota(database, "tokens", "month", 10**6, scope_id=f"user-{number}")
    over = asyncio.Event()

    async def look() -> None:
        while not over.is_set():
            async with database.connect() as connection:
                looks.append(int((await connection.execute(_WAITING)).scalar_one()))

    async def client(ledger: Ledger, number: int) -> None:
        for _ in range(_EACH):
            hold = hold_of(Owner("org", "team", f"user-{number % _USERS}", "key"))
            assert isinstance(await ledger.reserve(hold, Need(1, 9, 1)), Grant)
            ledger.settle(used(hold, 1, 4))

    async with ledger_of(database) as first, ledger_of(database) as second:
        looking = asyncio.create_task(look())
        await asyncio.gather(
            *(client(each, n) for each in (first, second) for n in range(_CLIENTS))
        )
        for ledger in (first, second):
            await drained(ledger)
        over.set()
        await looking
    # one of a writer, and one of a sweep that may run beside it
    assert len(looks) > 5
    assert max(looks) <= 2, looks
    total = 2 * _CLIENTS * _EACH * 5
    assert (await counted(database))["group", "tokens", "month"] == (total, 0)
    await check_books(database)
    await database.close()
