"""Signing in with a name and a password, and the sessions that begin so.

The store has digests of tokens alone. A session ends when it was not used for `IDLE_US`, at the
latest after `LONGEST_US`, and with a new password. Failures are counted for an address, and for a
name at that address: nobody can lock the owner of a name out from somewhere else.
"""

import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from frontend.accounts.callers import caller_of
from frontend.accounts.credentials import digest_of
from frontend.accounts.passwords import MAX_LENGTH, Passwords
from frontend.accounts.throttle import Throttle
from frontend.domain.identity import Caller
from frontend.errors import Forbidden, RateLimited, StoreUnavailable
from frontend.store import accounts as store
from frontend.store.database import Database
from frontend.store.sessions import (
    Session,
    add_session,
    end_session,
    find_person,
    find_session,
    see_session,
)

_MINUTE_US = 60_000_000
IDLE_US = 12 * 60 * _MINUTE_US
LONGEST_US = 7 * 24 * 60 * _MINUTE_US
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{43}")
_MAX_KNOWN = 10_000


def _now_us() -> int:
    return time.time_ns() // 1000


@dataclass(slots=True)
class Sessions:
    """The sessions of one database."""

    database: Database
    passwords: Passwords
    now_us: Callable[[], int] = _now_us
    addresses: Throttle = field(default_factory=Throttle)
    names: Throttle = field(default_factory=lambda: Throttle(5, 30.0))
    _known: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    async def sign_in(self, name: str, password: str, subject: str) -> str:
        """The token of a new session. `subject` is where the attempt comes from.

        Raises Forbidden for a wrong name or password, RateLimited, Overloaded, StoreUnavailable.
        """
        name, pair = name[:MAX_LENGTH], f"{subject} {name[:MAX_LENGTH]}"
        # counted before the hash, or guesses at the same time would all be hashed
        wait_s = self.names.fail([pair]) or self.addresses.fail([subject])
        if wait_s > 0:
            text = "too many attempts to sign in; wait and try again"
            raise RateLimited(text, wait_us=int(wait_s * 1e6), code="too_many_failures")
        async with self.database.connect() as rows:
            user = await store.USERS.find_by(rows, name=name)
            person = None if user is None else await find_person(rows, user.id)
            hashed = None
            if person is not None and person.enabled:
                hashed = await store.password_of(rows, person.user_id)
        # an account that does not exist takes as long as one that does
        is_right = await self.passwords.verify(hashed, password[: MAX_LENGTH + 1], subject)
        if person is None or not is_right:
            raise Forbidden("the name or the password is not correct", code="sign_in_failed")
        self.names.forgive(pair)
        self.addresses.forgive(subject)
        return await self.begin(person.user_id)

    async def begin(self, user_id: str) -> str:
        """A new session; its token is never one that a browser brought along."""
        token, now_us = secrets.token_urlsafe(32), self.now_us()
        session = Session(user_id, now_us, now_us + LONGEST_US)
        async with self.database.begin() as rows:
            await add_session(rows, digest_of(token.encode()), session)
        return token

    async def find(
        self, token: bytes, may_look: Callable[[], bool], *, counts: bool = True
    ) -> Caller | None:
        """Whose session it is; None where it has ended. `may_look` is asked before the database
        looks for a token that was not seen before. `counts`: it is a use of the session."""
        if not _TOKEN.fullmatch(token):
            return None
        digest = digest_of(token)
        if digest not in self._known and not may_look():
            return None
        now_us = self.now_us()
        async with self.database.connect() as rows:
            session = await find_session(rows, digest)
            person = None if session is None else await find_person(rows, session.user_id)
        ended = session is None or now_us >= min(
            session.expires_at_us, session.seen_at_us + IDLE_US
        )
        if session is None or person is None or ended or not person.enabled:
            self._known.pop(digest, None)
            return None
        self._known[digest] = None
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        if counts and now_us - session.seen_at_us > _MINUTE_US:
            await self._see(digest, now_us)
        return caller_of("", person)

    async def end(self, token: bytes) -> None:
        """Ends a session, if it is one."""
        self._known.pop(digest_of(token), None)
        async with self.database.begin() as rows:
            await end_session(rows, digest_of(token))

    async def _see(self, digest: bytes, now_us: int) -> None:
        try:
            async with self.database.begin() as rows:
                await see_session(rows, digest, now_us)
        except StoreUnavailable:
            return  # the next request stores it
