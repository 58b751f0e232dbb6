"""What pages show of credits: also of a period that has not begun in the books yet."""

import asyncio
from datetime import UTC, datetime

from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.statement import Holding, read_holdings
from frontend.domain.metering import Owner
from frontend.store.database import Database
from frontend.store.ledger.books import LedgerStore
from tests.support.accounts import add, opened

LATER_US = int(datetime(2100, 1, 15, tzinfo=UTC).timestamp() * 1e6)


async def test_a_month_that_is_due_is_shown_as_begun_and_nothing_is_written(
    database: Database,
) -> None:
    directory = await opened(database)
    user, _ = await add(directory, "ada")
    plan = await directory.plans.create(
        OPERATOR, "three", {"credits_micro": 3_000_000, "shared": False, "quotas": []}
    )
    await directory.subscriptions.subscribe(OPERATOR, "user", user.id, plan.id)
    await directory.subscriptions.grant(OPERATOR, "user", user.id, 9_000_000, "for the course")
    before = await directory.subscriptions.credits("user", user.id)
    owner = Owner("", user.group_id, user.id, "")
    store = LedgerStore(database)

    async def read(now_us: int) -> list[Holding]:
        return list(await store.read(lambda books: read_holdings(books, owner, now_us)))

    (now,) = await read(directory.plans.changes.now_us())
    assert now.balance.available == before["available"]
    (later,) = await read(LATER_US)
    assert (later.balance.available, later.balance.expired) == (3_000_000, before["available"])
    assert later.period_end_us == int(datetime(2100, 2, 1, tzinfo=UTC).timestamp() * 1e6)
    assert await directory.subscriptions.credits("user", user.id) == before


async def test_who_never_had_credits_has_no_holding(database: Database) -> None:
    directory = await opened(database)
    user, _ = await add(directory, "bob")
    owner = Owner("", user.group_id, user.id, "")
    books = LedgerStore(database)
    found = await asyncio.wait_for(books.read(lambda one: read_holdings(one, owner, LATER_US)), 30)
    assert found == []
