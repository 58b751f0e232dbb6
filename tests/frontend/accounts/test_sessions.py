"""Sessions: how they end, and what attempts to sign in cost."""

import asyncio
import threading

import pytest
from sqlalchemy import event, func, select

from frontend.accounts.attempts import Attempts, known_browser, remember_browser
from frontend.accounts.cookies import Cookies, csrf_of, is_csrf
from frontend.accounts.directory.actor import OPERATOR, Actor
from frontend.accounts.directory.directory import Directory
from frontend.accounts.passwords import Passwords
from frontend.accounts.sessions import CODE, PASSWORD, Lifetimes, Sessions
from frontend.accounts.signins import Refused, SignIns, Source
from frontend.accounts.throttle import Throttle
from frontend.errors import Forbidden, InvalidRequest, NotFound, RateLimited
from frontend.store import tables
from frontend.store.chain import verify
from frontend.store.database import Database
from frontend.store.records import Range
from frontend.store.sessions import MAX_OF_USER
from tests.support.accounts import add, opened

MINUTE_US = 60_000_000


class Time:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.us = 10**15

    def __call__(self) -> int:
        return self.us


async def test_a_session_ends_without_use_and_in_any_case(database: Database) -> None:
    directory, now = await opened(database), Time()
    user, _ = await add(directory, "ada")
    sessions = Sessions(database, directory.users.passwords, Lifetimes(600, 3600), now_us=now)
    idle_us, longest_us = 600 * 10**6, 3600 * 10**6

    async def finds(token: str) -> bool:
        caller = await sessions.find(token.encode(), lambda: True)
        assert caller is None or (caller.user, caller.name, caller.key) == (user.id, "ada", "")
        return caller is not None

    idle, used = [(await sessions.begin(user.id)).token for _ in range(2)]
    started_us = now.us
    while now.us + idle_us // 2 < started_us + longest_us:
        now.us += idle_us // 2
        assert await finds(used)
    assert not await finds(idle)
    now.us = started_us + longest_us
    assert not await finds(used)
    made = (await sessions.begin(user.id)).token
    await sessions.end(made.encode())
    assert not await finds(made)


async def test_a_token_that_was_not_seen_is_looked_up_only_with_leave(database: Database) -> None:
    directory = await opened(database)
    user, _ = await add(directory, "ada")
    sessions = Sessions(database, directory.users.passwords)
    token = (await sessions.begin(user.id)).token.encode()
    assert await sessions.find(token, lambda: False) is None
    assert await sessions.find(token, lambda: True) is not None
    assert await sessions.find(token, lambda: False) is not None
    for odd in (b"", b"x", token + b"x", b"'" * 43):
        assert await sessions.find(odd, lambda: True) is None


class Attacked:
    """Sessions, a user, and waits that are noted in place of being spent."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.waited_s: list[float] = []

    async def open(self, *, once: bool = False) -> Sessions:
        self.directory = await opened(self.database)
        self.user, _ = await add(self.directory, "ada")
        reset = self.directory.users.reset_password
        self.password = await reset(OPERATOR, self.user.id, once=once)
        self.sessions = Sessions(self.database, self.directory.users.passwords)
        still = Throttle(5, 5.0, lambda: 0.0), Throttle(20, 1.0, lambda: 0.0)
        self.sessions.attempts = Attempts(names=still[0], addresses=still[1], sleep=self.note)
        return self.sessions

    async def note(self, wait_s: float) -> None:
        self.waited_s.append(wait_s)

    async def guess(self, source: Source) -> None:
        with pytest.raises(Forbidden):
            await self.sessions.sign_in("ada", "not the password", source)


async def test_the_right_password_gets_through_while_others_guess(database: Database) -> None:
    attacked = Attacked(database)
    sessions, here = await attacked.open(), Source("192.0.2.1", "192.0.2.1")
    begun = await sessions.sign_in("ada", attacked.password, here)
    for _ in range(5):
        await attacked.guess(here)
    assert attacked.waited_s == []
    await attacked.guess(here)
    assert attacked.waited_s
    # a browser that is not known waits for its turn, and is not refused
    token = (await sessions.sign_in("ada", attacked.password, here)).token
    assert await sessions.find(token.encode(), lambda: True)
    # the one that has signed in before does not even wait
    waits = len(attacked.waited_s)
    known = Source("192.0.2.1", "192.0.2.1", browser=begun.browser)
    for _ in range(3):
        await sessions.sign_in("ada", attacked.password, known)
    assert len(attacked.waited_s) == waits
    # and what waits is bounded
    tries = [sessions.sign_in("ada", "not the password", here) for _ in range(9)]
    errors = await asyncio.gather(*tries, return_exceptions=True)
    assert {type(one) for one in errors} == {Forbidden, RateLimited}
    await sessions.sign_in("ada", attacked.password, known)
    assert max(attacked.waited_s) <= 20


def test_a_browser_is_known_for_its_own_names_alone() -> None:
    secret = b"s" * 32
    cookie = remember_browser(secret, "ada", "")
    assert known_browser(secret, "ada", cookie)
    assert remember_browser(secret, "ada", cookie) == cookie
    others = ("bob", secret, cookie), ("ada", b"t" * 32, cookie), ("ada", secret, "x")
    for name, key, text in others:
        assert not known_browser(key, name, text)
    for name in "bcdef":
        cookie = remember_browser(secret, name, cookie)
    assert not known_browser(secret, "ada", cookie), "the oldest of more than four is dropped"
    assert known_browser(secret, "f", cookie)
    # its own guesses are limited as well
    throttle = Throttle(10, 30.0, lambda: 0.0)
    assert [throttle.fail(["x"]) > 0 for _ in range(11)] == [False] * 10 + [True]


async def test_strangers_hash_one_at_a_time_beside_those_who_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords, running, goes_on = Passwords(), [], threading.Event()
    all_run, loop = asyncio.Event(), asyncio.get_running_loop()

    def verify(_: object, stored: str | None, password: str) -> bool:
        running.append(password)
        if len(running) == 3:
            loop.call_soon_threadsafe(all_run.set)
        return goes_on.wait(30)

    monkeypatch.setattr(Passwords, "_verify", verify)
    calls = [passwords.verify(None, "x", f"s{n}", known=False) for n in range(12)]
    strangers = asyncio.gather(*calls)
    known = asyncio.gather(*(passwords.verify(None, name, name) for name in ("y", "z")))
    await all_run.wait()
    assert sorted(running) == ["x", "y", "z"]
    goes_on.set()
    assert all(await known + await strangers)


async def test_a_one_time_password_opens_nothing_but_the_next_step(database: Database) -> None:
    attacked, here = Attacked(database), Source("192.0.2.1", "192.0.2.1")
    sessions = await attacked.open(once=True)
    begun = await sessions.sign_in("ada", attacked.password, here)
    token = begun.token.encode()
    assert begun.stage == PASSWORD
    assert await sessions.find(token, lambda: True) is None
    pending = await sessions.find_pending(token)
    assert pending is not None
    actor = Actor(pending.user_id, pending.name, frozenset())
    choose = attacked.directory.users.choose_password
    for refused in ("short", attacked.password):
        with pytest.raises(InvalidRequest, match="new_password"):
            await choose(actor, refused)
    await choose(actor, "quite long enough")
    assert await sessions.find_pending(token) is None
    assert (await sessions.sign_in("ada", "quite long enough", here)).stage == ""


async def test_sign_ins_and_failures_are_events(database: Database) -> None:
    attacked = Attacked(database)
    sessions = await attacked.open()
    here = Source("192.0.2.9", "192.0.2.9", "request-1")
    begun = await sessions.sign_in("ada", attacked.password, here)
    await attacked.guess(here)
    with pytest.raises(Forbidden):
        await sessions.sign_in("secret typed as a name", "x", here)
    await sessions.end(begun.token.encode(), here)
    shown = await attacked.directory.events.page(Range(100))
    events = [one for one in shown if one.action.startswith("sessions.")]
    assert [(one.action, one.target_id, one.actor_name) for one in events] == [
        ("sessions.sign_in", attacked.user.id, "ada"),
        ("sessions.refuse", attacked.user.id, "ada"),
        ("sessions.refuse", "unknown", ""),
        ("sessions.sign_out", attacked.user.id, "ada"),
    ]
    assert {(one.address, one.request_id) for one in events} == {("192.0.2.9", "request-1")}
    assert "secret" not in repr(events)
    assert (await verify(database)).broken is None


async def test_events_of_failures_are_bounded(database: Database) -> None:
    await opened(database)
    now = [0.0]
    signins = SignIns(database, Time(), Throttle(2, 1.0, lambda: now[0]))
    for _ in range(5):
        await signins.refuse(Refused("", "", "password"), Source())
    now[0] += 2
    await signins.refuse(Refused("", "", "password"), Source())
    events = await Directory.of(database).events.page(Range(100))
    held = [one.details.get("failures_before_that_have_no_event") for one in events]
    assert held == [None, None, "3"]


def test_cookies_have_the_prefix_behind_tls_alone() -> None:
    name, value = Cookies(secure=True).write("session", "x", 5, hidden=True)
    assert name == b"set-cookie"
    assert value == b"__Host-session=x; Path=/; Max-Age=5; SameSite=Lax; Secure; HttpOnly"
    plain = Cookies(secure=False).write("csrf", "x", 5, hidden=False)[1]
    assert plain == b"csrf=x; Path=/; Max-Age=5; SameSite=Lax"
    headers = [(b"cookie", b"a=1; session=x"), (b"cookie", b"__Host-session=y")]
    assert Cookies(secure=True).read(headers, "session") == b"y"
    assert Cookies(secure=False).read(headers, "session") == b"x"
    assert is_csrf(b"x", csrf_of(b"x").encode())
    assert not is_csrf(b"y", csrf_of(b"x").encode())
    assert not is_csrf(b"x", "é".encode())


async def test_a_user_sees_the_own_sessions_and_ends_them_alone(database: Database) -> None:
    directory, now = await opened(database), Time()
    ada, bob = [(await add(directory, name))[0] for name in ("ada", "bob")]
    sessions = Sessions(database, directory.users.passwords, Lifetimes(600, 3600), now_us=now)
    source = Source("192.0.2.7", agent="Mozilla/5.0 (X11; Linux) Firefox/140.0")
    mine, other, third = [(await sessions.begin(ada.id, source=source)).token for _ in range(3)]
    await sessions.begin(ada.id, PASSWORD)
    theirs = (await sessions.begin(bob.id, source=source)).token
    found = await sessions.of_user(ada.id, mine.encode())
    assert sorted(one.is_current for one in found) == [False, False, True]
    assert {(one.address, one.agent) for one in found} == {(source.address, source.agent)}
    (foreign,) = await sessions.of_user(bob.id, b"")
    with pytest.raises(NotFound):
        await sessions.end_one(ada.id, foreign.id, source)
    ids = {one.id for one in await sessions.of_user(ada.id, other.encode()) if one.is_current}
    await sessions.end_one(ada.id, ids.pop(), source)
    assert await sessions.find(other.encode(), lambda: True) is None
    assert await sessions.end_others(ada.id, mine.encode(), source) == 1
    assert await sessions.find(third.encode(), lambda: True) is None
    for token in (mine, theirs):
        assert await sessions.find(token.encode(), lambda: True) is not None
    ends = [one for one in await directory.events.page(Range(100)) if one.action == "sessions.end"]
    assert [(one.actor_id, one.target_id) for one in ends] == [(ada.id, ada.id)] * 2
    now.us += 600 * 10**6
    assert await sessions.of_user(ada.id, mine.encode()) == []


async def test_names_that_do_not_exist_take_the_same_statements(database: Database) -> None:
    attacked = Attacked(database)
    sessions = await attacked.open()
    await add(attacked.directory, "without")
    off, _ = await add(attacked.directory, "off")
    await attacked.directory.users.reset_password(OPERATOR, off.id)
    await attacked.directory.users.edit(OPERATOR, off.id, {"disabled": True})
    sent: list[str] = []
    engine = database._engine.sync_engine
    taken = {}

    def note(*executed: object) -> None:
        sent.append(str(executed[2]))

    # the first one reads the secret of browsers
    for name in ("first", "ada", "nobody", "without", "off"):
        sent.clear()
        event.listen(engine, "before_cursor_execute", note)
        with pytest.raises(Forbidden):
            await sessions.sign_in(name, "not the password", Source(name, name))
        event.remove(engine, "before_cursor_execute", note)
        taken[name] = [*sent]
    assert taken["ada"]
    assert taken["nobody"] == taken["without"] == taken["off"] == taken["ada"]


async def test_sessions_of_one_user_are_bounded(database: Database) -> None:
    directory, now = await opened(database), Time()
    ada, _ = await add(directory, "ada")
    bob, _ = await add(directory, "bob")
    sessions = Sessions(database, directory.users.passwords, now_us=now)
    other = (await sessions.begin(bob.id)).token
    first = (await sessions.begin(ada.id)).token
    now.us += 1
    kept = (await sessions.begin(ada.id)).token
    # a thief who knows only the password ends no session of the owner
    for _ in range(MAX_OF_USER + 5):
        now.us += 1
        await sessions.begin(ada.id, CODE)
    assert await sessions.find(first.encode(), lambda: True) is not None
    for _ in range(MAX_OF_USER - 1):
        now.us += 1
        await sessions.begin(ada.id)
    assert await sessions.find(first.encode(), lambda: True) is None
    found = [await sessions.find(one.encode(), lambda: True) for one in (kept, other)]
    assert all(found)
    async with database.connect() as rows:
        count = select(func.count()).select_from(tables.sessions)
        total = (await rows.execute(count)).scalar_one()
    assert total == 2 * MAX_OF_USER + 1
