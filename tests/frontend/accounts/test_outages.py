"""The ledger while transactions are slow or fail, or the database is away, on both databases."""

import asyncio

import pytest

from frontend.accounts.holds import Hold
from frontend.accounts.ledger import Ledger
from frontend.accounts.windows import MINUTE_US, SECOND_US
from frontend.domain.metering import Owner
from frontend.errors import QuotaExceeded, StoreUnavailable
from frontend.store.database import Database
from frontend.store.ledger.books import LedgerStore
from tests.support.ledgers import (
    ADA,
    Charged,
    SetClock,
    add_quota,
    check_books,
    counted,
    drained,
    hold_of,
    ledger_of,
    reserve,
    subscribe,
    used,
    wait_until,
)

MONTH = ("user", "tokens", "month")


class Away(LedgerStore):
    """A database that can be slow or away, also right after a commit."""

    away = False
    lies = False

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.answers = asyncio.Event()
        self.answers.set()

    async def write(self, work):  # type: ignore[no-untyped-def]
        await self.answers.wait()
        if self.away:
            raise StoreUnavailable("away")
        result = await super().write(work)
        if self.lies:
            raise StoreUnavailable("the connection was lost at the commit")
        return result


async def test_an_outage_is_bridged_for_a_minute_and_nothing_is_lost(database: Database) -> None:
    await add_quota(database, "tokens", "month", 200)
    clock, charged = SetClock(), Charged()
    async with ledger_of(database, clock, charged) as ledger:
        ledger._writer.store = store = Away(database)
        running = used(await reserve(ledger, 40, 60), 40, 50)
        store.away = True
        ledger.settle(running)
        offline = await reserve(ledger, 50, 30)
        with pytest.raises(QuotaExceeded):
            await reserve(ledger, 50, 30)
        ledger.settle(used(offline, 50, 10))
        clock.now_us += MINUTE_US + SECOND_US
        with pytest.raises(StoreUnavailable):
            await reserve(ledger)
        store.away = False
        await drained(ledger)
        await wait_until(lambda: len(charged.rows) == 2)
    assert (await counted(database))[MONTH] == (150, 0)
    sums = await check_books(database)
    assert sums["requests"] == len(charged.rows) == 2


async def test_a_connection_lost_at_the_commit_charges_nobody_twice(database: Database) -> None:
    await add_quota(database, "tokens", "month", 1000)
    clock = SetClock()
    async with ledger_of(database, clock) as ledger:
        ledger._writer.store = store = Away(database)
        hold = used(await reserve(ledger), 10, 5)
        free = used(hold_of(Owner(user="anonymous")), 3, 4)
        store.lies = True
        ledger.settle(hold)
        ledger.settle(free)
        clock.now_us += 2 * MINUTE_US  # nothing is granted from memory
        with pytest.raises(StoreUnavailable):
            await reserve(ledger)
        store.lies = False
        await drained(ledger)
    assert (await counted(database))[MONTH] == (15, 0)
    assert (await check_books(database))["requests"] == 2


async def test_usage_without_limits_is_bounded_while_the_database_is_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontend.accounts.writer._MAX_UNRESERVED", 10)
    charged, nobody = Charged(), Owner(user="anonymous")
    async with ledger_of(database, charged=charged) as ledger:
        assert ledger.is_unlimited(nobody)
        ledger._writer.store = store = Away(database)
        store.away = True
        for _ in range(13):
            ledger.settle(used(hold_of(nobody), 1, 1))
        store.away = False
    assert charged.lost == 3
    assert (await check_books(database))["requests"] == len(charged.rows) == 10


async def test_a_row_that_no_transaction_accepts_stops_no_other(database: Database) -> None:
    charged = Charged()
    async with ledger_of(database, charged=charged) as ledger:
        bad = used(hold_of(), 1)
        bad.row.dialect = None  # type: ignore[assignment]
        ledger.settle(bad)
        ledger.settle(used(hold_of(), 2))
        await wait_until(lambda: bool(charged.rows))
    assert [row.usage.prompt_tokens for row in charged.rows] == [2]


async def granted(ledger: Ledger, times: int, prompt: int, output: int) -> list[Hold]:
    """Those of several requests, one after another, that are granted without a transaction."""
    holds = []
    for _ in range(times):
        asking = asyncio.create_task(reserve(ledger, prompt, output))
        await asyncio.sleep(0)
        if not asking.done():
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            break
        holds.append(asking.result())
    return holds


async def test_nothing_is_granted_twice_while_a_transaction_decides(
    database: Database,
) -> None:
    await add_quota(database, "tokens", "month", 1000)
    async with ledger_of(database) as ledger:
        ledger.settle(used(await reserve(ledger), 0))  # what is left is known now
        await drained(ledger)
        ledger._writer.store = store = Away(database)
        store.answers.clear()
        large = asyncio.create_task(reserve(ledger, 100, 860))
        await asyncio.sleep(0)
        assert await granted(ledger, 20, 10, 30) == []
        store.answers.set()
        ledger.settle(used(await large, 100, 860))
        ledger.settle(used(await reserve(ledger, 10, 30), 10, 30))
        with pytest.raises(QuotaExceeded):
            await reserve(ledger, 10, 30)
        await drained(ledger)
    assert (await counted(database))[MONTH] == (1000, 0)
    await check_books(database)


@pytest.mark.parametrize("pays", [False, True])
async def test_a_transaction_for_one_request_does_not_make_others_wait(
    database: Database, *, pays: bool
) -> None:
    """Otherwise all requests of a group under load wait: one of them is always in a transaction."""
    if pays:
        await subscribe(database, "developer")
    await add_quota(database, "tokens", "month", 10_000)
    await add_quota(database, "concurrency", "none", 20)
    async with ledger_of(database) as ledger:
        ledger.settle(used(await reserve(ledger), 0))  # what is left is known now
        await drained(ledger)
        ledger._writer.store = store = Away(database)
        store.answers.clear()
        large = asyncio.create_task(reserve(ledger, 100, 1200))
        await asyncio.sleep(0)
        assert not large.done()
        holds = await granted(ledger, 30, 10, 30)
        store.answers.set()
        # one place is for the request that waits
        assert len(holds) == 19
        for hold in [*holds, await large]:
            ledger.settle(used(hold, 10, 20))
        await drained(ledger)
        # nothing counts as asked for any more
        holds = await granted(ledger, 30, 10, 30)
        assert len(holds) == 20
        for hold in holds:
            ledger.settle(hold)
    assert (await counted(database))[MONTH] == (600, 0)
    await check_books(database)


async def test_who_keeps_asking_never_waits_for_rules(database: Database) -> None:
    """The transaction that charges one request reads what the next one needs."""
    clock = SetClock()
    await subscribe(database, "developer")
    await add_quota(database, "tokens", "month", 10**6)
    async with ledger_of(database, clock) as ledger:
        ledger.settle(used(await reserve(ledger), 0))
        for _ in range(6):
            await drained(ledger)
            clock.now_us += 400_000
            [hold] = await granted(ledger, 1, 10, 20)
            ledger.settle(used(hold, 10, 20))
    await check_books(database)


async def test_an_outage_begins_with_what_was_granted_and_not_written(database: Database) -> None:
    await add_quota(database, "tokens", "month", 1000)
    async with ledger_of(database) as ledger:
        ledger.settle(used(await reserve(ledger), 0))
        await drained(ledger)
        ledger._writer.store = store = Away(database)
        store.away = True
        early = await granted(ledger, 20, 10, 40)
        late = [await reserve(ledger, 200, 100)]
        left = 1000 - 50 * len(early) - 300
        assert early
        (shown,) = await ledger.remaining.limits(ADA)
        assert (shown["reserved"], shown["left"]) == (1000 - left, left)
        with pytest.raises(QuotaExceeded, match=f"{left} of 1000 tokens"):
            await reserve(ledger, left + 1, 0)
        store.away = False
        await drained(ledger)
        assert (await counted(database))[MONTH] == (0, 1000 - left)
        # what was granted during the outage still runs
        with pytest.raises(QuotaExceeded, match=f"{left} of 1000 tokens"):
            await reserve(ledger, left + 1, 0)
        for hold in early:
            ledger.settle(used(hold, 10, 40))
        for hold in late:
            ledger.settle(used(hold, 200, 100))
        await drained(ledger)
    assert (await counted(database))[MONTH] == (1000 - left, 0)
    await check_books(database)
