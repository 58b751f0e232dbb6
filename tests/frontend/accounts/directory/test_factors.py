"""Second factors: set up, asked for, used once, lost, and guessed at."""

import asyncio
from itertools import islice

import pytest

from frontend.accounts.attempts import Attempts
from frontend.accounts.directory.actor import OPERATOR, Actor
from frontend.accounts.directory.directory import Directory
from frontend.accounts.directory.factors import Setup
from frontend.accounts.sessions import CODE, ENROL, PASSWORD, Sessions
from frontend.accounts.signins import Source
from frontend.accounts.throttle import Throttle
from frontend.accounts.totp import code_at
from frontend.errors import Conflict, Forbidden, InvalidRequest, RateLimited
from frontend.store.database import Database
from frontend.store.factors import find_factor
from tests.support.accounts import add, opened

HERE = Source("192.0.2.1", "192.0.2.1")


class Ward:
    """A user with an app, and a clock for the codes."""

    def __init__(self, directory: Directory, actor: Actor, password: str) -> None:
        self.directory, self.actor, self.password = directory, actor, password
        self.now_s = 3_000_000.0
        self.factors = directory.factors
        object.__setattr__(self.factors, "now_s", lambda: self.now_s)

    async def code(self) -> str:
        async with self.directory.users.changes.database.connect() as rows:
            factor = await find_factor(rows, self.actor.id)
        assert factor is not None
        secret = await self.factors.seal.open(self.actor.id, factor.secret)
        return code_at(secret, int(self.now_s) // 30)

    async def enrol(self) -> list[str]:
        await self.factors.set_up(self.actor, self.password)
        return await self.factors.confirm(self.actor, await self.code())


@pytest.fixture
async def ward(database: Database) -> Ward:
    directory = await opened(database)
    user, _ = await add(directory, "ada")
    password = await directory.users.reset_password(OPERATOR, user.id)
    actor = Actor(user.id, user.name, frozenset(), address="192.0.2.1")
    return Ward(directory, actor, password)


async def test_few_setups_of_a_user_wait_for_their_picture(ward: Ward) -> None:
    await ward.factors.set_up(ward.actor, ward.password)
    async with ward.factors.drawing.taken("another user"):
        calls = [asyncio.create_task(ward.factors.pending(ward.actor)) for _ in range(20)]
        for refused in islice(asyncio.as_completed(calls), 4):
            with pytest.raises(RateLimited):
                await refused
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(one, Setup) for one in ended) == 16


async def test_a_code_works_once_and_so_does_a_recovery_code(ward: Ward) -> None:
    codes = await ward.enrol()
    assert await ward.factors.state(ward.actor.id) == (True, 10)
    with pytest.raises(Conflict):
        await ward.factors.set_up(ward.actor, ward.password)
    first = await ward.code()
    with pytest.raises(Forbidden, match="already been used"):
        await ward.factors.check(ward.actor, first)
    ward.now_s += 30
    code = await ward.code()
    tries = [ward.factors.check(ward.actor, code) for _ in range(3)]
    ended = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(one is None for one in ended) == 1, "the same code, three times at once"
    await ward.factors.check(ward.actor, codes[3].upper())
    with pytest.raises(Forbidden):
        await ward.factors.check(ward.actor, codes[3])
    assert await ward.factors.state(ward.actor.id) == (True, 9)


async def test_it_is_on_after_its_first_code_alone(ward: Ward) -> None:
    with pytest.raises(InvalidRequest, match="no second factor is being set up"):
        await ward.factors.confirm(ward.actor, "000000")
    with pytest.raises(Forbidden, match="current password"):
        await ward.factors.set_up(ward.actor, "not the password")
    await ward.factors.set_up(ward.actor, ward.password)
    wrong = str((int(await ward.code()) + 1) % 10**6).zfill(6)
    with pytest.raises(InvalidRequest, match="clock"):
        await ward.factors.confirm(ward.actor, wrong)
    assert await ward.factors.state(ward.actor.id) == (False, 0)
    with pytest.raises(Forbidden):
        await ward.factors.check(ward.actor, await ward.code())


async def test_guesses_are_slow_however_many_addresses_they_come_from(ward: Ward) -> None:
    await ward.enrol()
    still = Throttle(5, 30.0, lambda: 0.0), Throttle(20, 30.0, lambda: 0.0)
    attempts = Attempts(names=still[0], addresses=still[1])
    object.__setattr__(ward.factors, "attempts", attempts)
    refused = 0
    for number in range(60):
        thief = Actor(ward.actor.id, "ada", frozenset(), address=f"192.0.2.{number}")
        with pytest.raises((Forbidden, RateLimited)) as error:
            await ward.factors.check(thief, "000000")
        refused += error.type is RateLimited
    assert refused == 40
    ward.now_s += 30
    # a browser of the owner's is not held up
    await ward.factors.check(ward.actor, await ward.code(), "their browser")


async def test_a_sign_in_takes_the_steps_in_order(ward: Ward) -> None:
    users = ward.directory.users
    sessions = Sessions(users.changes.database, users.passwords)
    await ward.enrol()
    once = await users.reset_password(OPERATOR, ward.actor.id, once=True)
    begun = await sessions.sign_in("ada", once, HERE)
    assert (begun.stage, begun.browser) == (CODE, "")
    assert await sessions.find(begun.token.encode(), lambda: True) is None
    pending = await sessions.find_pending(begun.token.encode())
    assert pending is not None
    following = await sessions.go_on(pending, HERE)
    assert following.stage == PASSWORD
    await ward.factors.reset(OPERATOR, ward.actor.id)
    assert await sessions.find_pending(following.token.encode()) is None
    sessions.factor_roles = frozenset({"student"})
    await users.choose_password(ward.actor, "quite long enough")
    enrol = await sessions.sign_in("ada", "quite long enough", HERE)
    assert enrol.stage == ENROL
    assert (await ward.factors.pending(ward.actor)).secret == (
        await ward.factors.pending(ward.actor)
    ).secret
    await ward.factors.confirm(ward.actor, await ward.code())
    last = await sessions.find_pending(enrol.token.encode())
    assert last is not None
    done = await sessions.go_on(last, HERE)
    assert await sessions.find(done.token.encode(), lambda: True)
    assert done.browser


async def test_one_removes_the_own_with_a_code(ward: Ward) -> None:
    codes = await ward.enrol()
    with pytest.raises(Forbidden):
        await ward.factors.remove(ward.actor, "000000")
    await ward.factors.remove(ward.actor, codes[0])
    assert await ward.factors.state(ward.actor.id) == (False, 0)
