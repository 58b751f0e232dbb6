"""Changes of plans in the middle of a month, to the credit: upgrades, downgrades, pools, races."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.directory import Directory
from frontend.accounts.ledger import Ledger
from frontend.accounts.windows import DAY_US, SECOND_US
from frontend.domain.metering import Owner
from frontend.errors import Conflict, InvalidRequest, QuotaExceeded, RateLimited
from frontend.store.database import Database
from frontend.store.location import Location
from frontend.store.records import Range
from frontend.store.tables import credit_entries, subscriptions
from tests.support.accounts import add, opened
from tests.support.ledgers import (
    SetClock,
    check_books,
    credits_of,
    drained,
    ledger_of,
    reserve,
    rows_of,
    used,
)


def day(number: int, month: int = 11) -> int:
    """The start of a day in UTC. November has 30 days."""
    return int(datetime(2026, month, number, tzinfo=UTC).timestamp()) * SECOND_US


@dataclass
class Office:
    """Two gateways on one database, and a user in a group; the clock starts on 1 November."""

    databases: tuple[Database, Database]
    clock: SetClock
    owner: Owner

    @classmethod
    async def open(cls, databases: tuple[Database, Database]) -> "Office":
        directory = await opened(databases[0])
        user, _ = await add(directory, "ada")
        group = await directory.groups.get(user.group_id)
        return cls(
            databases, SetClock(now_us=day(1)), Owner(group.organisation_id, group.id, user.id, "k")
        )

    def __post_init__(self) -> None:
        self.gateways = [Directory.of(one) for one in self.databases]
        for gateway in self.gateways:
            changes = replace(gateway.subscriptions.changes, now_us=self.clock)
            object.__setattr__(gateway.subscriptions, "changes", changes)

    async def subscribe(self, plan: str, kind: str = "user", gateway: int = 0) -> None:
        holder = self.owner.user if kind == "user" else self.owner.group
        subscriptions = self.gateways[gateway].subscriptions
        await subscriptions.subscribe(OPERATOR, kind, holder, await self.plan(plan))

    async def plan(self, name: str) -> str:
        found = await self.gateways[0].plans.page(Range(50))
        return next(one.id for one in found if one.name == name)

    async def custom(self, name: str, credits: int | None, *, shared: bool = False) -> None:
        micro = None if credits is None else credits * 1_000_000
        values: dict[str, Any] = {"credits_micro": micro, "shared": shared, "quotas": []}
        await self.gateways[0].plans.create(OPERATOR, name, values)

    async def spend(self, ledger: Ledger, requests: int) -> None:
        """Each costs a credit. Written before the next step, as a slow gateway would not have."""
        for _ in range(requests):
            hold = await reserve(ledger, owner=self.owner, now_us=self.clock.now_us)
            ledger.settle(used(hold, 1))
        await drained(ledger)

    async def credits(self) -> tuple[int, int, int]:
        """Available, spent and expired."""
        found = await credits_of(self.databases[1])
        assert found["reserved"] == 0
        assert sum(found.values()) == 0
        return found["available"], found["spent"], found["expired"]

    async def plans(self) -> tuple[str, str | None]:
        """The plan in effect, and the one that follows."""
        (row,) = await rows_of(self.databases[1], subscriptions)
        names = {one.id: one.name for one in await self.gateways[0].plans.page(Range(50))}
        return names[row.plan_id], names.get(row.next_plan_id)


@pytest.fixture
async def office(location: Location) -> AsyncIterator[Office]:
    databases = Database(location), Database(location)
    yield await Office.open(databases)
    for database in databases:
        await database.close()


@pytest.mark.parametrize(
    ("before", "spent", "on", "after", "available", "in_december"),
    [
        # upgrades: the difference for the rest of the month, what is left stays
        ("free", 0, 1, "developer", 1000, 1000),
        ("free", 0, 16, "developer", 100 + 450, 1000),
        ("free", 40, 16, "developer", 60 + 450, 1000),
        ("free", 100, 16, "developer", 0 + 450, 1000),
        ("free", 7, 21, "developer", 93 + 300, 1000),
        ("free", 7, 28, "developer", 93 + 90, 1000),
        ("developer", 30, 7, "custom", 970 + 1600, 3000),
        # to a plan without a limit nothing is added: what is left is kept for what follows
        ("free", 40, 16, "pro", 60, 0),
        # downgrades: nothing is taken back, and the smaller plan begins in December
        ("developer", 0, 16, "free", 1000, 100),
        ("developer", 150, 16, "free", 850, 100),
        ("custom", 10, 16, "developer", 2990, 1000),
        ("pro", 5, 16, "developer", 0, 1000),
    ],
)
async def test_a_change_in_mid_month(
    office: Office, before: str, spent: int, on: int, after: str, available: int, in_december: int
) -> None:
    await office.custom("custom", 3000)
    await office.subscribe(before)
    is_downgrade = in_december < available or before == "pro"
    async with ledger_of(office.databases[0], office.clock) as ledger:
        await office.spend(ledger, spent)
        office.clock.now_us = day(on)
        await office.subscribe(after, gateway=1)
        costs = 0 if before == "pro" else spent
        assert await office.credits() == (available, costs, 0)
        in_effect = (before, after) if is_downgrade and after != "pro" else (after, None)
        assert await office.plans() == in_effect
        # the next month: what was left expires, the plan in effect grants all of its credits
        office.clock.now_us = day(1, 12)
        await office.spend(ledger, 1)
        paid = 0 if after == "pro" else 1
        assert await office.credits() == (in_december - paid, costs + paid, available)
        assert await office.plans() == (after, None)
    await check_books(office.databases[0])


async def test_a_plan_that_was_edited_in_mid_month(office: Office) -> None:
    """An edit counts from the next period on, also for who changes to another plan before."""
    await office.custom("small", 1000)
    await office.custom("large", 9000)
    await office.subscribe("small")
    async with ledger_of(office.databases[0], office.clock) as ledger:
        await office.spend(ledger, 10)
        plans, small = office.gateways[1].plans, await office.plan("small")
        await plans.edit(OPERATOR, small, {"credits_micro": 5_000_000_000})
        office.clock.now_us = day(16)
        await office.subscribe("large", gateway=1)
        assert await office.credits() == (990 + 4000, 10, 0)
        # back to what has less now than this period got: it waits for December
        await office.subscribe("small")
        assert await office.plans() == ("large", "small")
        office.clock.now_us = day(1, 12)
        await office.spend(ledger, 1)
    assert await office.credits() == (4999, 11, 4990)


async def test_a_downgrade_below_what_was_used_takes_nothing_back_and_holds_in_december(
    office: Office,
) -> None:
    await office.custom("ten", 10)
    await office.custom("three", 3)
    await office.subscribe("ten")
    async with ledger_of(office.databases[0], office.clock) as ledger:
        await office.spend(ledger, 8)
        await office.subscribe("three")
        assert await office.credits() == (2, 8, 0)
        await office.spend(ledger, 2)
        with pytest.raises(QuotaExceeded, match="0 are left"):
            await reserve(ledger, owner=office.owner, now_us=office.clock.now_us)
        office.clock.now_us = day(1, 12)
        await office.spend(ledger, 3)
        assert await office.credits() == (0, 13, 0)
        with pytest.raises(QuotaExceeded, match="0 are left"):
            await reserve(ledger, owner=office.owner, now_us=office.clock.now_us)
    await check_books(office.databases[0])


async def test_plans_that_change_back_and_forth_grant_nothing_twice(office: Office) -> None:
    await office.subscribe("free")
    office.clock.now_us = day(16)
    for plan in ("developer", "free", "developer", "free", "developer", "developer"):
        await office.subscribe(plan)
        assert await office.credits() == (550, 0, 0)
    assert await office.plans() == ("developer", None)
    await office.subscribe("pro")
    await office.subscribe("free")
    office.clock.now_us = day(21)
    # a limit is less than no limit: the plan follows in December
    await office.subscribe("developer")
    assert await office.credits() == (550, 0, 0)
    assert await office.plans() == ("pro", "developer")


async def test_a_month_that_was_skipped_grants_once(office: Office) -> None:
    await office.subscribe("free")
    office.clock.now_us = int(datetime(2027, 2, 15, tzinfo=UTC).timestamp()) * SECOND_US
    # February has 28 days, so the half is left
    await office.subscribe("developer")
    assert await office.credits() == (100 + 450, 0, 100)


async def test_a_pool_grows_for_all_members_and_a_custom_plan_is_exact(office: Office) -> None:
    await office.custom("enterprise-of-us", 70_000, shared=True)
    await office.subscribe("teams", "group")
    with pytest.raises(InvalidRequest, match="for groups and organisations"):
        await office.subscribe("teams", "user")
    members = [replace(office.owner, user=name, key=f"key-{name}") for name in ("ada", "bob")]
    async with ledger_of(office.databases[0], office.clock) as ledger:
        office.clock.now_us = day(11)
        for owner in members:
            hold = await reserve(ledger, owner=owner, now_us=office.clock.now_us)
            ledger.settle(used(hold, 1))
        await drained(ledger)
        assert await office.credits() == (9_998, 2, 0)
        # two thirds of the month are left
        await office.subscribe("enterprise-of-us", "group", gateway=1)
        assert await office.credits() == (9_998 + 40_000, 2, 0)
        # without a limit: every member continues, and nothing is charged
        await office.subscribe("enterprise", "group")
        office.clock.now_us += SECOND_US  # a gateway reads plans once a second
        for owner in members:
            hold = await reserve(ledger, owner=owner, now_us=office.clock.now_us)
            ledger.settle(used(hold, 1))
        await drained(ledger)
        assert await office.credits() == (49_998, 2, 0)
        await office.subscribe("teams", "group")
        office.clock.now_us = day(1, 12)
        await office.spend(ledger, 1)
        assert await office.credits() == (9_999, 3, 49_998)
    assert await office.plans() == ("teams", None)
    await check_books(office.databases[0])


async def test_limits_of_a_plan_change_with_it(office: Office) -> None:
    """Fair use of `pro` holds until the month ends, also where a smaller plan follows."""
    await office.subscribe("pro")
    await office.subscribe("free")
    clock = office.clock
    async with ledger_of(office.databases[0], clock) as ledger:
        with pytest.raises(RateLimited, match="200000 tokens per minute"):
            await reserve(ledger, 200_001, 0, owner=office.owner, now_us=clock.now_us)
        clock.now_us = day(1, 12)
        hold = await reserve(ledger, 200_001, 0, owner=office.owner, now_us=clock.now_us)
        ledger.settle(used(hold, 1))
    assert (await office.credits())[:2] == (99, 1)


@pytest.mark.parametrize(
    ("begun", "plans", "available"),
    [
        # in either order: from 100 to 2000 credits for half a month
        ("free", ("developer", "two-thousand"), {1050}),
        ("free", ("developer", "developer"), {550}),
        ("free", ("free", "developer"), {550}),
        ("developer", ("free", "developer"), {1000}),
        # the first plan is granted whole; a later, larger one for the rest of the month
        (None, ("developer", "developer"), {1000}),
        (None, ("free", "developer"), {1000, 550}),
    ],
)
async def test_two_gateways_change_a_plan_at_once(
    office: Office, begun: str | None, plans: tuple[str, str], available: set[int]
) -> None:
    await office.custom("two-thousand", 2000)
    if begun is not None:
        await office.subscribe(begun)
    office.clock.now_us = day(16)
    await asyncio.gather(*(office.subscribe(plans[n % 2], gateway=n % 2) for n in range(6)))
    found = await office.credits()
    assert found[0] in available
    assert found[1:] == (0, 0)
    in_effect, following = await office.plans()
    assert {in_effect, following} <= {*plans, begun, None}
    await check_books(office.databases[0])


async def test_two_gateways_begin_a_month_at_once(office: Office) -> None:
    await office.subscribe("developer")
    await office.subscribe("free")
    async with (
        ledger_of(office.databases[0], office.clock) as first,
        ledger_of(office.databases[1], office.clock) as second,
    ):
        office.clock.now_us = day(1, 12)
        await asyncio.gather(*(office.spend(one, 5) for one in (first, second, first, second)))
    assert await office.credits() == (80, 20, 1000)
    grants = await rows_of(office.databases[0], credit_entries)
    assert [one.amount_micro for one in grants].count(-100_000_000) == 1
    await check_books(office.databases[0])


async def test_a_change_while_requests_run_at_both_gateways(office: Office) -> None:
    await office.subscribe("free")
    office.clock.now_us = day(16)
    async with (
        ledger_of(office.databases[0], office.clock) as first,
        ledger_of(office.databases[1], office.clock) as second,
    ):
        running = [
            (one, await reserve(one, owner=office.owner, now_us=office.clock.now_us))
            for one in (first, second)
        ]
        await asyncio.gather(
            office.spend(first, 15),
            office.subscribe("developer", gateway=1),
            office.spend(second, 15),
        )
        for ledger, hold in running:
            ledger.settle(used(hold, 1))
    assert await office.credits() == (550 - 32, 32, 0)
    await check_books(office.databases[0])


async def test_a_plan_with_subscribers_is_not_deleted(office: Office) -> None:
    await office.custom("small", 5)
    await office.subscribe("free")
    office.clock.now_us += DAY_US
    await office.custom("tiny", 1)
    await office.subscribe("tiny")
    with pytest.raises(Conflict, match="'tiny' has subscribers"):
        await office.gateways[1].plans.delete(OPERATOR, await office.plan("tiny"))
    await office.gateways[1].plans.delete(OPERATOR, await office.plan("small"))


async def test_the_name_of_a_deleted_plan_is_free(directory: Directory) -> None:
    values: dict[str, Any] = {"credits_micro": 5, "shared": False, "quotas": []}
    for _ in range(3):
        made = await directory.plans.create(OPERATOR, "course", values)
        with pytest.raises(Conflict, match="already exists"):
            await directory.plans.create(OPERATOR, "course", values)
        await directory.plans.delete(OPERATOR, made.id)
