"""Races with delays, cancellations and failures at every await: no limit is ever exceeded.

A seed decides how long each transaction, statement and commit takes, which of them fail, and which
clients go away. What a limit has granted is added up outside the ledger: what runs counts as it was
reserved, what has ended as it was used. Every step of `settle` here is earlier than the ledger's.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.util import await_only

from frontend.accounts import sweeper, writer
from frontend.accounts.credits import CREDIT, Reason, Transfer
from frontend.accounts.holds import Hold
from frontend.accounts.ledger import Ledger
from frontend.accounts.limits import Limit, Measure
from frontend.accounts.memory import RULES_US
from frontend.accounts.quotas import Grant, Holds, Need, Tight
from frontend.accounts.windows import Kind
from frontend.domain.metering import Owner
from frontend.domain.usage import Usage
from frontend.errors import GatewayError, StoreUnavailable
from frontend.store.database import Database
from frontend.store.ledger.books import Books, LedgerStore
from frontend.store.ledger.credits import TransferRow
from frontend.store.location import Location
from frontend.store.tables import counters
from tests.support.databases import Databases
from tests.support.ledgers import (
    NOW_US,
    SetClock,
    add_quota,
    check_books,
    credits_of,
    drained,
    hold_of,
    ledger_of,
    rows_of,
    subscribe,
)

CLIENTS = 64
SEEDS = range(2)
_CREDITS = 60 * CREDIT
_LIMITS = (
    ("organisation", "org", "tokens", "month", 2000),
    ("group", "team", "requests", "day", 90),
    ("group", "team", "tokens", "30d", 1500),
    ("user", "ada", "tokens", "month", 700),
    ("user", "ada", "concurrency", "none", 7),
    ("user", "bob", "requests", "minute", 40),
    ("user", "bob", "tokens", "none", 500),
    ("key", "key-0", "tokens", "minute", 300),
    ("key", "key-1", "concurrency", "none", 3),
)


@dataclass
class Dice:
    """Decides everything of one race."""

    seed: int
    failures: float

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self.choice = self._random.choice
        self.randrange = self._random.randrange

    def happens(self, chance: float) -> bool:
        return self._random.random() < chance

    async def pause(self) -> None:
        """Some turns of the event loop, or a moment."""
        if self.happens(0.1):
            await asyncio.sleep(self._random.random() * 0.01)
        for _ in range(self.randrange(4)):
            await asyncio.sleep(0)


class SlowStore(LedgerStore):
    """Each transaction takes as long as the dice say, and fails before or after its commit."""

    def __init__(self, database: Database, dice: Dice) -> None:
        super().__init__(database)
        self.dice = dice

    async def write(self, work: Callable[[Books], Any]) -> Any:
        await self.dice.pause()
        self._fail("away")

        def slow(books: Books) -> Any:
            result = work(books)
            await_only(self.dice.pause())
            self._fail("lost before the commit")
            return result

        result = await super().write(slow)
        await self.dice.pause()
        self._fail("lost after the commit")
        return result

    def _fail(self, text: str) -> None:
        if self.dice.happens(self.dice.failures):
            raise StoreUnavailable(text)


@dataclass
class Watch:
    """What is granted of each limit. Fails as soon as it is more than its amount."""

    clock: SetClock
    most_credits: int
    running: Counter[Limit] = field(default_factory=Counter)
    used: Counter[Limit] = field(default_factory=Counter)
    credits: int = 0
    spent: int = 0
    granted: int = 0

    def grant(self, hold: Hold, holds: Holds) -> None:
        self.granted += 1
        for limit, amount in holds:
            self.running[limit] += amount
            most = limit.amount
            if limit.window.kind is Kind.RATE:  # a burst, and what has drained since
                most += -(-most * (self.clock() - NOW_US) // limit.window.length_us)
            assert self.running[limit] + self.used[limit] <= most, limit

    def pay(self, hold: Hold) -> None:
        self.credits += hold.credits
        assert self.credits + self.spent <= self.most_credits

    def used_of(self, key: tuple[str, str, str]) -> int:
        """Of the limit that has a counter with this subject, measure and window."""
        return sum(
            amount
            for limit, amount in self.used.items()
            if (limit.subject, limit.measure, limit.window.name) == key
        )

    def settle(self, hold: Hold, holds: Holds) -> None:
        for limit, amount in holds:
            self.running[limit] -= amount
            if hold.started and limit.measure is Measure.REQUESTS:
                self.used[limit] += amount
        for limit in {limit for limit, _ in holds}:
            if hold.started and limit.measure is Measure.TOKENS:
                self.used[limit] += hold.tokens
        self.credits -= hold.credits
        self.spent += hold.cost if hold.started else 0


@dataclass
class Race:
    """Clients that ask again and again, at one gateway or two."""

    dice: Dice
    ledgers: list[Ledger]
    watch: Watch
    rounds: int = 4

    async def run(self) -> None:
        clients = [asyncio.create_task(self._client(n)) for n in range(CLIENTS)]
        await asyncio.gather(*clients)

    async def _client(self, number: int) -> None:
        dice = self.dice
        for _ in range(self.rounds):
            await dice.pause()
            one = asyncio.create_task(self._request(self.ledgers[number % len(self.ledgers)]))
            if dice.happens(0.2):
                await dice.pause()
                one.cancel()
            await asyncio.wait([one])
            if not one.cancelled() and (error := one.exception()) is not None:
                raise error

    async def _request(self, ledger: Ledger) -> None:
        dice, user = self.dice, self.dice.choice(("ada", "bob"))
        if dice.happens(0.1):  # what is remembered of rules and prices is too old now
            self.watch.clock.now_us += RULES_US
        owner = Owner("org", "team", user, f"key-{dice.randrange(3)}")
        hold = hold_of(owner, now_us=self.watch.clock())
        prompt, output = dice.randrange(1, 10), dice.randrange(15)
        need = Need(prompt, output, min(output, 1), estimated=dice.happens(0.3))
        holds: Holds = ()
        try:
            answer = await ledger.reserve(hold, need)
            if isinstance(answer, Tight):
                answer = await ledger.reserve(hold, Need(prompt, output, min(output, 1)))
            assert isinstance(answer, Grant)
            holds, most = answer.holds, prompt + answer.output
            self.watch.grant(hold, holds)
            self.watch.pay(hold)
            await dice.pause()
            if dice.happens(0.2):
                more = await ledger.reserve(hold, Need(0, output, requests=0))
                assert isinstance(more, Grant)
                self.watch.grant(hold, more.holds)
                holds, most = (*holds, *more.holds), most + more.output
                await dice.pause()
            if dice.happens(0.8):
                hold.started = True
                hold.row.status = 200
                total = dice.randrange(most + 1)
                hold.row.usage = Usage(min(prompt, total), completion_tokens=max(total - prompt, 0))
            await dice.pause()
        except GatewayError:
            pass
        finally:
            self.watch.settle(hold, holds)
            ledger.settle(hold)


def _slow(database: Database, dice: Dice) -> None:
    """Pauses before each statement."""

    def pause(*_: object) -> None:
        await_only(dice.pause())

    event.listen(database._engine.sync_engine, "before_cursor_execute", pause)


async def _prepare(database: Database, *, pays: bool) -> None:
    for kind, whose, measure, period, amount in _LIMITS:
        await add_quota(database, measure, period, amount, scope_kind=kind, scope_id=whose)
    if pays:
        await subscribe(database, "teams", "group", "team")
        await LedgerStore(database).write(_leave_credits)


def _leave_credits(books: Books) -> None:
    """The pool of the team has 60 credits in this month."""
    scope = ("group", "team")
    balances = books.lock_balances([scope])
    legs = Transfer(Reason.GRANT, _CREDITS).legs
    books.save_transfers([TransferRow(scope, Reason.GRANT, legs, None)], balances, NOW_US)
    row = books.subscriptions(["team"], books.plans(), lock=True)[scope]
    row.period_starts_at_us = NOW_US
    books.save_subscription(row, NOW_US)


async def _run(location: Location, dice: Dice, gateways: int, *, pays: bool) -> None:
    clock = SetClock()
    watch = Watch(clock, _CREDITS if pays else 0)
    async with AsyncExitStack() as stack:
        first, ledgers = Database(location), []
        stack.push_async_callback(first.close)
        await _prepare(first, pays=pays)
        for _ in range(gateways):
            database = Database(location)
            stack.push_async_callback(database.close)
            ledgers.append(await stack.enter_async_context(ledger_of(database, clock)))
            # those that serve already look whether they are alone
            clock.now_us += RULES_US
            _slow(database, dice)
            ledgers[-1]._writer.store = SlowStore(database, dice)
        for _ in range(10):
            await Race(dice, ledgers, watch).run()
            # every transaction of a race may fail, though that is rare
            if watch.granted > 10:
                break
        dice.failures = 0
        for ledger in ledgers:
            await drained(ledger)
        await check_books(first)
        assert watch.granted > 10
        for row in await rows_of(first, counters):
            if row.period != "minute":
                key = (row.scope_id, row.measure, row.period)
                assert row.used == watch.used_of(key), key
        if pays:
            credits = await credits_of(first)
            assert (credits["spent"], credits["reserved"]) == (watch.spent // CREDIT, 0)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of these races is set, so that a new gateway need not wait for the others."""
    monkeypatch.setattr(sweeper, "RULES_US", 0)
    monkeypatch.setattr(writer, "_RETRY_S", 0.01)
    monkeypatch.setattr(writer, "_LAZY_S", 0.005)
    monkeypatch.setattr(writer, "_ALONE_S", 0.005)


@pytest.mark.parametrize("pays", [False, True])
@pytest.mark.parametrize("failures", [0, 0.1])
@pytest.mark.parametrize("gateways", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
async def test_no_limit_is_exceeded(
    databases: Databases, seed: int, gateways: int, failures: float, *, pays: bool
) -> None:
    await _run(databases.sqlite(), Dice(seed, failures), gateways, pays=pays)


@pytest.mark.parametrize("gateways", [1, 2])
async def test_no_limit_is_exceeded_in_postgres(databases: Databases, gateways: int) -> None:
    await _run(databases.postgres(), Dice(0, 0.1), gateways, pays=True)
