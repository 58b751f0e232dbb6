"""Rotations of one key at two gateways, at once or again within the grace period."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from frontend.accounts.callers import Callers
from frontend.accounts.directory.actor import OPERATOR, Actor
from frontend.accounts.directory.directory import Directory
from frontend.accounts.directory.keys import MAX_REPLACED
from frontend.errors import Conflict, NotFound, Unauthorized
from frontend.store.database import Database
from frontend.store.location import Location
from frontend.store.records import Range
from tests.support.accounts import acting, add, find, opened

SECOND_US = 1_000_000


@dataclass
class Two:
    """Two gateways on one database, at a time that a test sets; and a key of ada's."""

    databases: tuple[Database, Database]
    now_us: int
    text: str = ""
    key: str = ""
    user: str = ""

    def __post_init__(self) -> None:
        self.gateways = [Directory.of(one) for one in self.databases]
        for gateway in self.gateways:
            changes = replace(gateway.keys.changes, now_us=lambda: self.now_us)
            object.__setattr__(gateway.keys, "changes", changes)

    async def settle(self) -> "Two":
        user, self.text = await add(await opened(self.databases[0]), "ada")
        self.user = user.id
        (self.key,) = [one.id for one in await self.gateways[0].keys.page(Range(2))]
        return self

    async def rotate(self, grace_s: int = 60, gateway: int = 0, actor: Actor = OPERATOR) -> str:
        made = await self.gateways[gateway].keys.rotate(actor, self.key, grace_s)
        assert made.text is not None
        assert made.text.startswith(f"tt-{self.key}-")
        return made.text

    async def working(self, *texts: str) -> list[bool]:
        """Which of these open the account, the same at both gateways."""
        seen = []
        for database in self.databases:
            callers = Callers(database, now_us=lambda: self.now_us)
            found = [await find(callers, text) for text in texts]
            assert {one.key for one in found if one} <= {self.key}, "one public id for all"
            seen.append([one is not None for one in found])
        assert seen[0] == seen[1]
        return seen[0]


@pytest.fixture
async def two(location: Location) -> AsyncIterator[Two]:
    databases = Database(location), Database(location)
    yield await Two(databases, time.time_ns() // 1000).settle()
    for database in databases:
        await database.close()


async def test_the_same_request_at_both_gateways_makes_one_text(two: Two) -> None:
    callers = Callers(two.databases[0])
    caller = await find(callers, two.text)
    assert caller is not None
    once = acting(caller, two.text, "retry-1", b"rotate")
    texts = await asyncio.gather(*(two.rotate(60, n % 2, once) for n in range(6)))
    assert len(set(texts)) == 1
    assert await two.working(two.text, texts[0]) == [True, True]
    events = await two.gateways[1].events.page(Range(50))
    assert [one.action for one in events].count("keys.rotate") == 1


async def test_different_requests_at_both_gateways_end_no_text_that_was_promised(two: Two) -> None:
    caller = await find(Callers(two.databases[0]), two.text)
    assert caller is not None
    actors = [acting(caller, two.text, f"retry-{n}", b"rotate") for n in range(4)]
    texts = await asyncio.gather(*(two.rotate(60, n % 2, one) for n, one in enumerate(actors)))
    assert len(set(texts)) == 4
    assert await two.working(two.text, *texts) == [True] * 5
    two.now_us += 61 * SECOND_US
    left = await two.working(two.text, *texts)
    assert left.count(True) == 1
    assert not left[0], "the last rotation counts, not the first text"


async def test_each_text_works_as_long_as_its_own_rotation_promised(two: Two) -> None:
    second = await two.rotate(60)
    two.now_us += 30 * SECOND_US
    third = await two.rotate(3600, gateway=1)
    assert await two.working(two.text, second, third) == [True] * 3
    two.now_us += 30 * SECOND_US
    assert await two.working(two.text, second, third) == [False, True, True]
    two.now_us += 3570 * SECOND_US
    assert await two.working(two.text, second, third) == [False, False, True]


async def test_a_shorter_grace_period_ends_earlier_texts_too(two: Two) -> None:
    second = await two.rotate(3600)
    third = await two.rotate(10)
    two.now_us += 11 * SECOND_US
    assert await two.working(two.text, second, third) == [False, False, True]
    await two.rotate(3600)
    last = await two.rotate(0)
    assert await two.working(two.text, second, third, last) == [False, False, False, True]


async def test_replaced_texts_that_still_work_are_few(two: Two) -> None:
    texts = [await two.rotate(3600, n % 2) for n in range(MAX_REPLACED)]
    assert all(await two.working(two.text, *texts))
    with pytest.raises(Conflict, match=r"8 replaced texts.*'grace_s' of 0"):
        await two.rotate(3600)
    assert all(await two.working(two.text, *texts)), "a refused rotation changes nothing"
    last = await two.rotate(0)
    assert (await two.working(two.text, *texts, last)).count(True) == 1


@pytest.mark.parametrize("action", ["delete", "disable", "delete_user"])
async def test_what_ends_the_key_ends_all_its_texts(two: Two, action: str) -> None:
    texts = [two.text, await two.rotate(3600), await two.rotate(3600, gateway=1)]
    gateway = two.gateways[1]
    if action == "delete":
        await gateway.keys.delete(OPERATOR, two.key)
    elif action == "delete_user":
        await gateway.users.delete(OPERATOR, two.user)
    else:
        await gateway.keys.edit(OPERATOR, two.key, {"disabled": True})
        for text in texts:
            with pytest.raises(Unauthorized, match="disabled"):
                await two.working(text)
        with pytest.raises(Conflict, match="is disabled"):
            await two.rotate()
        return
    assert await two.working(*texts) == [False] * 3
    with pytest.raises(NotFound):
        await two.rotate()


@pytest.mark.parametrize("number", range(3))
async def test_a_rotation_and_a_deletion_at_once_leave_no_text(two: Two, number: int) -> None:
    done = await asyncio.gather(
        two.rotate(3600, number % 2),
        two.gateways[1 - number % 2].keys.delete(OPERATOR, two.key),
        return_exceptions=True,
    )
    assert done[1] is None
    made = [one for one in done if isinstance(one, str)]
    assert isinstance(done[0], (str, NotFound))
    assert await two.working(two.text, *made) == [False] * (1 + len(made))
