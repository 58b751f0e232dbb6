"""Sessions: how they end, and what attempts to sign in cost."""

import pytest

from frontend.accounts.cookies import Cookies, csrf_of, is_csrf
from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.sessions import IDLE_US, LONGEST_US, Sessions
from frontend.errors import Forbidden, RateLimited
from frontend.store.database import Database
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
    sessions = Sessions(database, directory.users.passwords, now)

    async def finds(token: str) -> bool:
        caller = await sessions.find(token.encode(), lambda: True)
        assert caller is None or (caller.user, caller.name, caller.key) == (user.id, "ada", "")
        return caller is not None

    idle, used = await sessions.begin(user.id), await sessions.begin(user.id)
    started_us = now.us
    while now.us + IDLE_US // 2 < started_us + LONGEST_US:
        now.us += IDLE_US // 2
        assert await finds(used)
    assert not await finds(idle)
    now.us = started_us + LONGEST_US
    assert not await finds(used)
    made = await sessions.begin(user.id)
    await sessions.end(made.encode())
    assert not await finds(made)


async def test_a_token_that_was_not_seen_is_looked_up_only_with_leave(database: Database) -> None:
    directory = await opened(database)
    user, _ = await add(directory, "ada")
    sessions = Sessions(database, directory.users.passwords)
    token = (await sessions.begin(user.id)).encode()
    assert await sessions.find(token, lambda: False) is None
    assert await sessions.find(token, lambda: True) is not None
    assert await sessions.find(token, lambda: False) is not None
    for odd in (b"", b"x", token + b"x", b"'" * 43):
        assert await sessions.find(odd, lambda: True) is None


async def test_guesses_end_for_their_address_and_not_for_the_owner(database: Database) -> None:
    directory = await opened(database)
    user, _ = await add(directory, "ada")
    password = await directory.users.reset_password(OPERATOR, user.id)
    sessions = Sessions(database, directory.users.passwords)
    for _ in range(5):
        with pytest.raises(Forbidden):
            await sessions.sign_in("ada", "not the password", "192.0.2.1")
    with pytest.raises(RateLimited):
        await sessions.sign_in("ada", password, "192.0.2.1")
    token = await sessions.sign_in("ada", password, "192.0.2.2")
    assert await sessions.find(token.encode(), lambda: True)


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
