"""The ledger over SQLite and PostgreSQL: races, ends of every kind, dead gateways."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from frontend.accounts.credits import Reason, Transfer
from frontend.accounts.holds import Hold
from frontend.accounts.ledger import Ledger
from frontend.accounts.quotas import Grant, Need, Tight
from frontend.accounts.windows import DAY_US, SECOND_US
from frontend.domain.metering import Owner
from frontend.domain.usage import Usage
from frontend.errors import QuotaExceeded, RateLimited
from frontend.store.database import Database
from frontend.store.journal import Journal
from frontend.store.ledger.books import Books, LedgerStore
from frontend.store.ledger.credits import TransferRow
from frontend.store.tables import quotas, usage
from tests.support.ledgers import (
    ADA,
    NOW_US,
    Charged,
    SetClock,
    add_quota,
    check_books,
    counted,
    credits_of,
    drained,
    hold_of,
    ledger_of,
    reserve,
    rows_of,
    subscribe,
    used,
)

MONTH = ("user", "tokens", "month")
DECEMBER_US = 1_796_083_200_000_000


async def test_64_requests_at_once_never_exceed_a_budget(database: Database) -> None:
    await add_quota(database, "tokens", "month", 1000)
    charged = Charged()
    refused = 0

    async def one(ledger: Ledger) -> None:
        nonlocal refused
        try:
            hold = await reserve(ledger, 10, 40)
        except QuotaExceeded:
            refused += 1
        else:
            ledger.settle(used(hold, 10, 40))

    async with ledger_of(database, charged=charged) as first, ledger_of(database) as second:
        await asyncio.gather(*(one((first, second)[n % 2]) for n in range(64)))
    sums = await check_books(database)
    assert (await counted(database))[MONTH] == (1000, 0)
    assert sums["requests"] == 20
    assert refused == 44
    assert sums["prompt_tokens"] + sums["completion_tokens"] == 1000


async def test_the_last_request_is_cut_to_what_is_left(database: Database) -> None:
    await add_quota(database, "tokens", "month", 100)
    async with ledger_of(database) as ledger:
        answer = await ledger.reserve(hold_of(), Need(60, 500, 1))
        assert isinstance(answer, Grant)
        assert answer.output == 40
        with pytest.raises(QuotaExceeded, match="0 of 100 tokens per month are left") as caught:
            await reserve(ledger)
        assert "token budget of your user is used up" in caught.value.message
        assert "resets at 2026-12-01T00:00:00Z" in caught.value.message
        assert (caught.value.may_retry, caught.value.retry_after_s) == (False, 120)


async def test_a_refusal_costs_nothing_in_any_counter(database: Database) -> None:
    await add_quota(database, "requests", "minute", 100)
    await add_quota(database, "requests", "day", 100)
    await add_quota(database, "concurrency", "none", 2, scope_kind="key", scope_id="key-1")
    await add_quota(database, "tokens", "month", 50, scope_kind="group", scope_id="team")
    async with ledger_of(database) as ledger:
        for _ in range(5):
            with pytest.raises(QuotaExceeded, match="your group"):
                await reserve(ledger, 60)
        assert set((await counted(database)).values()) == {(0, 0)}
        first, second = await reserve(ledger, 5, 5), await reserve(ledger, 5, 5)
        with pytest.raises(RateLimited, match="this key may have 2 requests running"):
            await reserve(ledger, 5, 5)
        ledger.settle(used(first, 5, 1))
        ledger.settle(second)  # it never ran
        await drained(ledger)
        assert await counted(database) == {
            ("user", "requests", "minute"): (0, 0),
            ("user", "requests", "day"): (1, 0),
            ("key", "concurrency", "none"): (0, 0),
            ("group", "tokens", "month"): (6, 0),
        }
        rates = ledger.remaining.rates(ADA)
        assert rates is not None
        assert rates.tokens is not None
        assert rates.tokens.limit == 50


async def test_a_rate_names_when_to_try_again(database: Database) -> None:
    await add_quota(database, "requests", "minute", 2)
    clock = SetClock()
    async with ledger_of(database, clock) as ledger:
        for _ in range(2):
            ledger.settle(used(await reserve(ledger), 1))
        with pytest.raises(RateLimited, match=r"2 requests per minute; try again in 30\.0 s") as it:
            await reserve(ledger)
        assert (it.value.retry_after_s, it.value.retry_after_ms) == (30, 30_000)
        assert it.value.may_retry
        clock.now_us += 30 * SECOND_US
        await reserve(ledger)


async def test_refused_requests_have_a_limit_of_their_own(database: Database) -> None:
    await add_quota(database, "tokens", "month", 5)
    async with ledger_of(database, max_refused=3) as ledger:
        for _ in range(3):
            with pytest.raises(QuotaExceeded):
                await reserve(ledger)
        with pytest.raises(RateLimited, match="more than 3 requests were refused"):
            await reserve(ledger)


async def test_settling_twice_charges_once(database: Database) -> None:
    await add_quota(database, "tokens", "month", 1000)
    async with ledger_of(database) as ledger:
        hold = used(await reserve(ledger), 10, 5)
        again = Hold(hold.row, hold.deadline_us, dict(hold.parts), started=True)
        for one in (hold, hold, again):
            ledger.settle(one)
            await drained(ledger)
    assert (await counted(database))[MONTH] == (15, 0)
    assert (await check_books(database))["requests"] == 1


async def test_more_tokens_for_the_same_request_are_settled_with_it(database: Database) -> None:
    await add_quota(database, "tokens", "month", 1000)
    await add_quota(database, "requests", "day", 10)
    async with ledger_of(database) as ledger:
        hold = await reserve(ledger, 10, 20)
        await ledger.reserve(hold, Need(10, 20, 1, requests=0))
        await drained(ledger)
        assert (await counted(database))[MONTH] == (0, 60)
        ledger.settle(used(hold, 20, 12))
    assert (await counted(database))[MONTH] == (32, 0)
    assert (await counted(database))["user", "requests", "day"] == (1, 0)
    assert (await check_books(database))["requests"] == 1


async def test_little_left_asks_for_an_exact_count(database: Database) -> None:
    await add_quota(database, "tokens", "month", 1000)
    async with ledger_of(database) as ledger:
        assert isinstance(await ledger.reserve(hold_of(), Need(100, 50, 1, estimated=True)), Tight)
        assert isinstance(await ledger.reserve(hold_of(), Need(50, 50, 1, estimated=True)), Grant)


async def test_clients_that_leave_while_they_wait_leave_nothing_behind(database: Database) -> None:
    await add_quota(database, "concurrency", "none", 100)
    await add_quota(database, "tokens", "month", 100_000)
    async with ledger_of(database) as ledger:
        tasks = [asyncio.create_task(reserve(ledger)) for _ in range(30)]
        for number, task in enumerate(tasks):
            if number % 5 == 0:
                await asyncio.sleep(0)
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Hold):
                ledger.settle(result)
    await check_books(database)
    assert set((await counted(database)).values()) <= {(0, 0)}


Kill = Callable[[Ledger], Awaitable[Hold]]


async def _after_reserve(ledger: Ledger) -> Hold:
    return await reserve(ledger)


async def _after_a_flush(ledger: Ledger) -> Hold:
    hold = used(await reserve(ledger), 10, 7)
    ledger.flush(hold)
    await drained(ledger)
    hold.row.usage = Usage(10, completion_tokens=15)  # produced, and not written down any more
    return hold


async def _with_more(ledger: Ledger) -> Hold:
    hold = await _after_a_flush(ledger)
    await ledger.reserve(hold, Need(10, 20, 1, requests=0))
    await drained(ledger)
    return hold


@pytest.mark.parametrize(
    ("kill", "charge"), [(_after_reserve, 0), (_after_a_flush, 17), (_with_more, 17)]
)
async def test_a_dead_gateway_is_settled_at_its_last_counts(
    database: Database, kill: Kill, charge: int
) -> None:
    await add_quota(database, "tokens", "month", 1000)
    await add_quota(database, "concurrency", "none", 1)
    clock, dead = SetClock(), SetClock()
    async with ledger_of(database, clock) as ledger:
        other = Ledger(ledger.store, 0, 100, lambda _: None, lambda: None, dead)
        writer = asyncio.create_task(other._writer.run())
        await other._sweeper.sweep(NOW_US)
        hold = await kill(other)
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        with pytest.raises(RateLimited):
            await reserve(ledger)
        clock.now_us += 60 * SECOND_US
        await ledger._sweeper.sweep(clock.now_us)
        assert (await counted(database))[MONTH] == (charge, 0)
        late = Hold(hold.row, hold.deadline_us, hold.parts, started=True)
        ledger.settle(late)  # it was only suspended: too late
        ledger.settle(used(await reserve(ledger), 1))
    assert (await counted(database))[MONTH] == (charge + 1, 0)
    assert (await check_books(database))["requests"] == 2
    assert [row.estimated for row in await rows_of(database, usage)].count(True) == 1


async def test_a_reset_and_a_new_quota_reach_every_process_within_a_second(
    database: Database,
) -> None:
    await add_quota(database, "tokens", "month", 20)
    clock = SetClock()
    async with ledger_of(database, clock) as first, ledger_of(database, clock) as second:
        ledgers = (first, second)
        first.settle(used(await reserve(first, 10, 10), 10, 10))
        await drained(first)
        for ledger in ledgers:
            with pytest.raises(QuotaExceeded):
                await reserve(ledger)
        await add_quota(database, "tokens", "month", 1000, expires_at_us=NOW_US + DAY_US)
        clock.now_us += SECOND_US
        for ledger in ledgers:
            ledger.settle(await reserve(ledger))
        clock.now_us += DAY_US
        for ledger in ledgers:
            with pytest.raises(QuotaExceeded):
                await reserve(ledger)
        async with database.begin() as connection:
            await connection.execute(quotas.delete())
        clock.now_us += SECOND_US
        for ledger in ledgers:
            ledger.settle(await reserve(ledger))
            assert ledger.is_unlimited(ADA)


async def test_a_new_user_has_the_default_budget(database: Database) -> None:
    async with ledger_of(database, default_tokens=100) as ledger:
        with pytest.raises(QuotaExceeded, match="100 tokens per month"):
            await reserve(ledger, 101)
        file_key = Owner(user="ada", key="ada")
        ledger.settle(await reserve(ledger, 101, owner=file_key))


async def test_short_requests_after_an_idle_hour_count_in_a_rate(database: Database) -> None:
    await add_quota(database, "requests", "minute", 3)
    clock = SetClock()
    async with ledger_of(database, clock) as ledger:
        ledger.settle(used(await reserve(ledger), 1))
        await drained(ledger)
        clock.now_us += 3600 * SECOND_US
        for _ in range(3):
            ledger.settle(used(await reserve(ledger, now_us=clock()), 1))
            await drained(ledger)
        with pytest.raises(RateLimited, match="3 requests per minute"):
            await reserve(ledger, now_us=clock())


async def test_credits_are_reserved_spent_and_refunded(database: Database) -> None:
    await subscribe(database, "free")
    async with ledger_of(database) as ledger:
        spent, failed, running = [await reserve(ledger) for _ in range(3)]
        ledger.settle(used(spent, 10, 5))
        ledger.settle(used(failed, 0))  # the engine failed before any token
        await drained(ledger)
        assert await credits_of(database) == {
            "granted": -100, "available": 98, "reserved": 1, "spent": 1, "expired": 0,
        }  # fmt: skip
        holds = [running, *[await reserve(ledger) for _ in range(98)]]
        with pytest.raises(QuotaExceeded, match="credits of your user are used up: 0 are left"):
            await reserve(ledger)
        for hold in holds:
            ledger.settle(hold)
    await check_books(database)
    assert (await credits_of(database))["available"] == 99
    rows = await rows_of(database, usage)
    assert sorted(row.credits_micro for row in rows) == [0, 1_000_000]


async def test_credits_are_granted_from_memory(database: Database) -> None:
    await subscribe(database, "free")
    clock = SetClock()
    async with ledger_of(database, clock) as ledger:
        ledger.settle(used(await reserve(ledger), 1))
        await drained(ledger)
        # one that is charged at once, one that failed, and one that runs on
        short, failed, running = [await reserve(ledger) for _ in range(3)]
        assert all(one.queued for one in (short, failed, running))
        ledger.settle(used(short, 10, 5))
        ledger.settle(failed)
        await drained(ledger)
        assert await credits_of(database) == {
            "granted": -100, "available": 97, "reserved": 1, "spent": 2, "expired": 0,
        }  # fmt: skip
        ledger.settle(used(running, 10, 5))
    await check_books(database)
    assert (await credits_of(database))["spent"] == 3


async def test_credits_that_the_journal_cannot_keep_wait_for_a_transaction(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscribe(database, "free")
    await add_quota(database, "tokens", "month", 100_000)
    async with ledger_of(database) as ledger:
        ledger.settle(used(await reserve(ledger), 1))  # what is left is known now
        await drained(ledger)
        kept = await reserve(ledger)
        assert kept.queued
        monkeypatch.setattr(Journal, "write", lambda *_: False)
        more = await ledger.reserve(kept, Need(10, 20, 1, requests=0))
        assert isinstance(more, Grant)
        late = await reserve(ledger)
        assert (kept.credits, late.credits) == (1_000_000, 1_000_000)
        for hold in (kept, late):
            ledger.settle(used(hold, 1))
        await drained(ledger)
    assert (await credits_of(database))["spent"] == 3
    await check_books(database)


async def test_credits_of_a_period_that_ends_before_they_are_written(database: Database) -> None:
    await subscribe(database, "free")
    clock = SetClock()
    clock.now_us = DECEMBER_US - 1
    async with ledger_of(database, clock) as ledger:
        ledger.settle(used(await reserve(ledger, now_us=DECEMBER_US), 1))
        await drained(ledger)
        hold = await reserve(ledger, now_us=DECEMBER_US)
        assert hold.queued
        clock.now_us = DECEMBER_US
        assert not (await reserve(ledger, now_us=DECEMBER_US)).queued, "its plan has new credits"
        # the old period had 100: 1 is spent, 1 is reserved, the rest has expired
        await drained(ledger)
        assert (await credits_of(database))["expired"] == 98
        ledger.settle(used(hold, 1))
    assert (await credits_of(database))["granted"] == -200


def _revoke_all(books: Books) -> None:
    """As an administrator does."""
    ada = ("user", "ada")
    balances = books.lock_balances([ada])
    amount = balances[ada]["available"][1]
    legs = Transfer(Reason.REVOKE, amount).legs
    books.save_transfers([TransferRow(ada, Reason.REVOKE, legs, None)], balances, NOW_US)


async def test_credits_that_were_taken_back_meanwhile(database: Database) -> None:
    await subscribe(database, "free")
    async with ledger_of(database) as ledger:
        ledger.settle(used(await reserve(ledger), 1))
        await drained(ledger)
        hold = await reserve(ledger)
        await LedgerStore(database).write(_revoke_all)
        ledger.settle(used(hold, 1))
    await check_books(database)
    assert (await credits_of(database))["available"] == 0


async def test_a_shared_plan_is_one_pool(database: Database) -> None:
    await subscribe(database, "teams", "group", "team")
    async with ledger_of(database) as ledger:
        for user in ("ada", "bob"):
            owner = Owner("org", "team", user, f"key-{user}")
            ledger.settle(used(await reserve(ledger, owner=owner), 1))
    assert (await credits_of(database))["available"] == 9_998


async def test_fair_use_of_an_unlimited_plan(database: Database) -> None:
    await subscribe(database, "pro")
    async with ledger_of(database) as ledger:
        with pytest.raises(RateLimited, match="200000 tokens per minute"):
            await reserve(ledger, 200_001, 0)
        ledger.settle(used(await reserve(ledger), 1))
    assert (await credits_of(database))["available"] == 0
