"""Limits of two gateways in one real Redis: together, without it, and after it was emptied."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.accounts.clock import Clock
from frontend.accounts.ledger import Ledger
from frontend.accounts.limits import Counter, Limit, Measure, Scope, left
from frontend.accounts.quotas import Grant, Need, Refusal, Tight, reserve
from frontend.accounts.share import Share
from frontend.accounts.shared import LEASE_US, Shared
from frontend.accounts.windows import MINUTE_US, parse_window
from frontend.domain.ids import new_id
from frontend.errors import QuotaExceeded, RateLimited, StoreUnavailable
from frontend.store.database import Database
from frontend.store.redis import SharedCounters
from tests.support.databases import Databases
from tests.support.ledgers import (
    Charged,
    add_quota,
    check_books,
    counted,
    hold_of,
    ledger_of,
    used,
    wait_until,
)
from tests.support.redis import RedisServer

MINUTE, NONE = parse_window("minute"), parse_window("none")


def limit_of(measure: Measure, amount: int, subject: str = "", scope: Scope = Scope.USER) -> Limit:
    window = NONE if measure is Measure.CONCURRENCY else MINUTE
    return Limit(scope, subject or new_id(), measure, window, amount)


@asynccontextmanager
async def shared_of(
    server: RedisServer, gateways: int = 1, timeout_s: float = 10, lease_us: int = LEASE_US
) -> AsyncIterator[Shared]:
    """One gateway's end."""
    shared = Shared(SharedCounters(server.url, timeout_s, lease_us), Share(gateways))
    async with shared.running():
        yield shared


async def grants(shared: Shared, limits: list[Limit], need: Need, count: int) -> list[str]:
    """The ids of those of `count` requests at the same time that were granted."""

    async def one() -> str:
        request_id = new_id()
        answer, _ = await shared.reserve(request_id, limits, need)
        return request_id if isinstance(answer, Grant) else ""

    return [each for each in await asyncio.gather(*(one() for _ in range(count))) if each]


async def test_limits_are_those_of_all_gateways_together(redis_server: RedisServer) -> None:
    rate, slots = limit_of(Measure.REQUESTS, 50), limit_of(Measure.CONCURRENCY, 7)
    async with shared_of(redis_server) as one, shared_of(redis_server) as two:
        both = await asyncio.gather(
            grants(one, [rate, slots], Need(1), 20), grants(two, [rate, slots], Need(1), 20)
        )
        first, second = both
        assert len(first) + len(second) == 7
        counters = await two.read([rate, slots])
        assert counters[slots.key].reserved == 7
        # a refused request costs nothing: 43 are left, less what has drained meanwhile
        assert 43 <= left(rate, counters[rate.key], two.clock()) <= 50
        for shared, ids in ((one, first), (two, second)):
            for request_id in ids:
                shared.settle(request_id, None)
                shared.settle(request_id, None)

        await wait_until(lambda: not (one._pipeline._asks or two._pipeline._asks))
        counters = await two.read([rate, slots])
        assert counters[slots.key].reserved == 0
        assert left(rate, counters[rate.key], two.clock()) == 50


async def test_a_step_that_is_repeated_changes_nothing(redis_server: RedisServer) -> None:
    limits = [limit_of(Measure.TOKENS, 10**6), limit_of(Measure.CONCURRENCY, 3)]
    async with shared_of(redis_server) as one, shared_of(redis_server) as two:
        for shared in (one, two):
            answer, counters = await shared.reserve("same", limits, Need(100, 900, 1))
            assert isinstance(answer, Grant)
            assert answer.output == 900
            assert counters[limits[1].key].reserved == 1
            assert counters[limits[0].key].at_us - shared.clock() <= 1000 * MINUTE_US // 10**6
        one.settle("same", 100)
        two.settle("same", 100)
        await wait_until(lambda: not (one._pipeline._asks or two._pipeline._asks))
        assert (await one.read(limits))[limits[1].key].reserved == 0


@dataclass
class Loop:
    """A loop and a gateway for many examples of one test."""

    runner: asyncio.Runner
    shared: Shared

    def ask(self, limits: list[Limit], need: Need) -> Grant | Refusal | Tight:
        return self.runner.run(self.shared.reserve(new_id(), limits, need))[0]


@pytest.fixture(scope="module")
def loop(redis_server: RedisServer) -> Iterator[Loop]:
    with asyncio.Runner() as runner:
        context = shared_of(redis_server)
        yield Loop(runner, runner.run(context.__aenter__()))
        runner.run(context.__aexit__(None, None, None))


needs = st.builds(
    Need,
    prompt=st.integers(0, 300),
    output=st.integers(1, 300),
    least=st.integers(0, 1),
    requests=st.integers(0, 1),
    estimated=st.booleans(),
)
amounts = st.lists(
    st.tuples(st.sampled_from(Measure), st.integers(0, 2000), st.sampled_from(Scope)),
    min_size=1,
    max_size=4,
    unique_by=lambda one: (one[0], one[2]),
)


@given(amounts=amounts, wanted=st.lists(needs, min_size=1, max_size=6))
def test_the_script_decides_as_the_pure_rules_do(
    loop: Loop, amounts: list[tuple[Measure, int, Scope]], wanted: list[Need]
) -> None:
    """On a clock that stands they are equal; what drains in Redis meanwhile only frees."""
    limits = [limit_of(measure, amount, "", scope) for measure, amount, scope in amounts]
    counters = {limit.key: Counter() for limit in limits}
    for need in wanted:
        answer = loop.ask(limits, need)
        pure = reserve(limits, counters, need, 0)
        if isinstance(pure, Grant) or not isinstance(answer, Grant):
            assert type(answer) is type(pure)
        if isinstance(pure, Grant) and isinstance(answer, Grant):
            assert (answer.output, answer.holds) == (pure.output, pure.holds)
        elif isinstance(answer, Grant):
            return  # it has drained since, so the two continue differently
        elif isinstance(answer, Refusal) and isinstance(pure, Refusal):
            assert answer.needed == pure.needed or answer.limit != pure.limit


async def test_places_of_a_killed_gateway_are_free_after_their_lease(
    redis_server: RedisServer,
) -> None:
    slots = limit_of(Measure.CONCURRENCY, 1)
    counters = SharedCounters(redis_server.url, 10, 50_000)
    killed = Shared(counters, Share())
    task = asyncio.create_task(killed._pipeline.run())
    assert len(await grants(killed, [slots], Need(1), 2)) == 1
    task.cancel()
    async with shared_of(redis_server) as alive:
        while not await grants(alive, [slots], Need(1), 1):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await counters.close()


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One of the test's own, to be stopped."""
    server = RedisServer(tmp_path_factory.mktemp("r"), password="hunter2")
    server.start()
    yield server
    server.stop()


async def until_back(shared: Shared) -> None:
    await wait_until(lambda: not shared.is_away)


async def test_without_redis_each_gives_its_share_and_recovers(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    rate, slots = limit_of(Measure.REQUESTS, 10), limit_of(Measure.CONCURRENCY, 9)
    need = Need(1)
    with caplog.at_level(logging.WARNING, "frontend.accounts"):
        async with shared_of(server, 2) as one, shared_of(server, 2) as two:
            before = await grants(one, [rate, slots], need, 3)
            server.kill()
            # 10 and 9 divided by 2, less what was given a moment ago
            alone = [
                len(await grants(one, [rate, slots], need, 20)),
                len(await grants(two, [rate, slots], need, 20)),
            ]
            assert alone == [1, 4]
            with pytest.raises(StoreUnavailable):
                await one.reserve(new_id(), [limit_of(Measure.CONCURRENCY, 1)], need)
            whole = limit_of(Measure.TOKENS, 100)
            with pytest.raises(StoreUnavailable):
                await one.reserve(new_id(), [whole], Need(60, 20, 1))
            for request_id in before:
                one.settle(request_id, 1)
            server.start()
            await until_back(one)
            await until_back(two)
            # the new Redis has learnt what runs and what was used while there was none
            counters = await one.read([rate, slots])
            assert counters[slots.key].reserved == 1 + 4
            assert left(rate, counters[rate.key], one.clock()) <= 3
    lines = [record.getMessage() for record in caplog.records]
    assert sum("uses 1/2" in line for line in lines) == 2
    assert sum("count limits together again" in line for line in lines) == 2
    assert len(lines) == 4
    assert "hunter2" not in "".join(lines)


async def test_a_flush_forgets_nothing_that_a_gateway_knows(server: RedisServer) -> None:
    rate, slots = limit_of(Measure.REQUESTS, 6), limit_of(Measure.CONCURRENCY, 6)
    async with shared_of(server) as one:
        assert len(await grants(one, [rate, slots], Need(1), 4)) == 4
        server.flush()
        assert len(await grants(one, [rate, slots], Need(1), 20)) <= 2
        counters = await one.read([rate, slots])
        assert counters[slots.key].reserved == 6


async def test_a_redis_that_does_not_answer_holds_nobody_up(server: RedisServer) -> None:
    slots = limit_of(Measure.CONCURRENCY, 100)
    async with shared_of(server, timeout_s=0.2) as one:
        server.pause()
        async with asyncio.timeout(60):
            assert len(await grants(one, [slots], Need(1), 50)) == 50
            assert one.is_away
        server.resume()
        await until_back(one)
        await wait_until(lambda: not one._pipeline._asks)
        assert (await one.read([slots]))[slots.key].reserved == 50


@pytest.fixture
async def books(databases: Databases) -> AsyncIterator[Database]:
    database = Database(databases.sqlite())
    yield database
    await database.close()


Make = Callable[[], Shared]


@pytest.fixture
def make(redis_server: RedisServer) -> Make:
    redis_server.flush()  # the users of these ledgers have the same names
    return lambda: Shared(SharedCounters(redis_server.url, 10, LEASE_US), Share())


async def reserved(ledger: Ledger, prompt: int = 10, output: int = 40) -> bool:
    hold = hold_of(now_us=ledger.clock())
    try:
        granted = await ledger.reserve(hold, Need(prompt, output, 1))
    except RateLimited:
        return False
    assert isinstance(granted, Grant)
    ledger.settle(used(hold, prompt, granted.output))
    return True


async def test_64_at_once_on_two_gateways_never_exceed_a_budget(
    books: Database, make: Make
) -> None:
    await add_quota(books, "tokens", "month", 1000)
    await add_quota(books, "requests", "minute", 100)
    await add_quota(books, "concurrency", "none", 64)
    charged, clock = Charged(), Clock()
    async with (
        ledger_of(books, clock, charged, shared=make()) as first,
        ledger_of(books, clock, shared=make()) as second,
    ):
        answers = await asyncio.gather(*(reserved((first, second)[n % 2]) for n in range(64)))
        assert sum(answers) == 20
        tokens, *_ = await first.remaining.limits(hold_of().row.owner)
        assert tokens["amount"] == 1000
    assert (await counted(books))["user", "tokens", "month"] == (1000, 0)
    assert ("user", "requests", "minute") not in await counted(books)
    sums = await check_books(books)
    assert sums["prompt_tokens"] + sums["completion_tokens"] == 1000


async def test_what_the_database_refuses_costs_nothing_in_redis(
    books: Database, make: Make
) -> None:
    await add_quota(books, "tokens", "month", 5)
    await add_quota(books, "requests", "minute", 1000)
    await add_quota(books, "concurrency", "none", 3)
    async with ledger_of(books, Clock(), shared=make()) as ledger:
        for _ in range(10):
            with pytest.raises(QuotaExceeded):
                await ledger.reserve(hold_of(), Need(10, 40, 1))
        await wait_until(lambda: ledger.shared is not None and not ledger.shared._pipeline._asks)
        shown = {one["measure"]: one for one in await ledger.remaining.limits(hold_of().row.owner)}
        assert shown["concurrency"]["reserved"] == 0
        assert shown["requests"]["left"] == 1000


async def test_attempts_of_one_request_take_what_each_needs(books: Database, make: Make) -> None:
    await add_quota(books, "tokens", "minute", 1000)
    await add_quota(books, "concurrency", "none", 1)
    async with ledger_of(books, Clock(), shared=make()) as ledger:
        hold = hold_of(now_us=ledger.clock())
        for requests in (1, 0):
            granted = await ledger.reserve(hold, Need(10, 390, 1, requests))
            assert isinstance(granted, Grant)
        rates = ledger.remaining.rates(hold.row.owner)
        assert rates is not None
        assert rates.tokens is not None
        assert rates.tokens.remaining <= 300
        with pytest.raises(RateLimited, match="requests running"):
            await ledger.reserve(hold_of(now_us=ledger.clock()), Need(1, 1, 1))
        ledger.settle(used(hold, 10, 90))
        await wait_until(lambda: ledger.shared is not None and not ledger.shared._pipeline._asks)
        shown = {one["measure"]: one for one in await ledger.remaining.limits(hold.row.owner)}
        assert shown["concurrency"]["reserved"] == 0
        assert shown["tokens"]["left"] >= 900


def test_a_wrong_url_does_not_show_its_password() -> None:
    with pytest.raises(ValueError, match="must be like") as caught:
        SharedCounters("redis://:hunter2@host:port/0")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
