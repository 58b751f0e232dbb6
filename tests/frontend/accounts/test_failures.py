"""The ledger when real things fail: PostgreSQL ends, the disk is full, the clock jumps."""

import asyncio
import resource

from frontend.accounts.clock import Clock
from frontend.accounts.ledger import Ledger
from frontend.accounts.quotas import Grant, Need
from frontend.accounts.windows import MINUTE_US, SECOND_US
from frontend.store.database import Database
from tests.support.databases import Databases
from tests.support.ledgers import (
    NOW_US,
    Charged,
    SetClock,
    add_quota,
    check_books,
    counted,
    hold_of,
    ledger_of,
    used,
    wait_until,
)

MONTH = ("user", "tokens", "month")


async def reserve(ledger: Ledger) -> Grant:
    hold = hold_of()
    answer = await ledger.reserve(hold, Need(10, 20, 1))
    assert isinstance(answer, Grant)
    ledger.settle(used(hold, 10, 5))
    return answer


async def test_postgres_is_killed_and_started_again(databases: Databases) -> None:
    database = Database(databases.postgres())
    await add_quota(database, "tokens", "month", 1000)
    charged = Charged()
    async with ledger_of(database, charged=charged) as ledger:
        await reserve(ledger)
        await wait_until(lambda: len(charged.rows) == 1)
        await asyncio.to_thread(databases.server.stop, kill=True)
        try:
            await reserve(ledger)
        finally:
            await asyncio.to_thread(databases.server.start)
        await wait_until(lambda: len(charged.rows) == 2)
    assert (await counted(database))[MONTH] == (30, 0)
    assert (await check_books(database))["requests"] == 2
    await database.close()


async def test_a_full_disk_loses_nothing(databases: Databases) -> None:
    location = databases.sqlite()
    database, charged = Database(location), Charged()
    await add_quota(database, "tokens", "month", 1000)
    size = location.file.stat().st_size
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with ledger_of(database, charged=charged) as ledger:
        await reserve(ledger)
        await wait_until(lambda: len(charged.rows) == 1)
        # the kernel refuses to make any file larger, as a disk without space does
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 8, limit[1]))
        try:
            await reserve(ledger)
            await wait_until(lambda: ledger._writer._repeated)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        await wait_until(lambda: len(charged.rows) == 2)
    assert (await counted(database))[MONTH] == (30, 0)
    await check_books(database)
    await database.close()


async def test_a_clock_that_jumps_gives_no_second_budget(databases: Databases) -> None:
    database = Database(databases.sqlite())
    await add_quota(database, "tokens", "month", 60)
    clock = SetClock()
    async with ledger_of(database, clock) as ledger:
        await reserve(ledger)
        clock.now_us -= 60 * 86400 * SECOND_US
        await reserve(ledger)
        clock.now_us = NOW_US
    assert (await counted(database))[MONTH] == (30, 0)
    await check_books(database)
    await database.close()


def test_the_clock_follows_a_jump_after_a_minute() -> None:
    wall, steady = NOW_US, 0
    clock = Clock(lambda: wall * 1000, lambda: steady * 1000)
    steady += SECOND_US
    wall += SECOND_US + 1000
    assert clock() == NOW_US + SECOND_US + 1000
    wall -= 40 * 86400 * SECOND_US
    for _ in range(59):
        assert clock() > NOW_US
        steady += SECOND_US
        wall += SECOND_US
    steady += MINUTE_US
    wall += MINUTE_US
    clock()
    assert clock() == wall
