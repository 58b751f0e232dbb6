"""The sessions of users who sign in with a browser.

The store has only digests of tokens. A session ends if it is not used for a while, after its
maximum lifetime, and with a new password. While a step is missing, such as replacing a one-time
password, the token is only valid for that step.
"""

import hashlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from frontend.accounts.attempts import Attempts, known_browser, remember_browser
from frontend.accounts.callers import caller_of
from frontend.accounts.credentials import digest_of
from frontend.accounts.passwords import MAX_LENGTH, Passwords
from frontend.accounts.signins import Refused, SignIns, Source
from frontend.domain.identity import Caller
from frontend.errors import Forbidden, GatewayError, NotFound, StoreUnavailable
from frontend.store import accounts as store
from frontend.store.database import Database
from frontend.store.factors import find_factor
from frontend.store.records import Rows
from frontend.store.retention import now_us
from frontend.store.secrets import shared_secret
from frontend.store.sessions import (
    MAX_OF_USER,
    Session,
    add_session,
    end_session,
    find_credentials,
    find_person,
    find_session,
    list_sessions,
    see_session,
)

_MINUTE_US = 60_000_000
_STEP_US = 10 * _MINUTE_US
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{43}")
_MAX_KNOWN = 10_000
COMPLETE, CODE, PASSWORD, ENROL = "", "code", "password", "enrol"
"""What a session lacks: nothing, a code of the second factor, a password of its user's own choice,
or a second factor that the role requires."""
_STEPS = (CODE, PASSWORD, ENROL)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Seconds that a session lasts: without use, and at most."""

    idle_s: int = 12 * 3600
    longest_s: int = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Begun:
    """A new session, or its first steps. `browser` is the cookie that identifies the browser."""

    token: str
    stage: str
    browser: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """The user who signs in, and the missing step."""

    user_id: str
    name: str
    stage: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A session for the list of its user; `id` is not a credential."""

    id: str
    is_current: bool
    address: str
    agent: str
    created_at_us: int
    seen_at_us: int
    expires_at_us: int


@dataclass(slots=True)
class Sessions:
    """The sessions of one database."""

    database: Database
    passwords: Passwords
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    factor_roles: frozenset[str] = frozenset()
    """Roles whose users need a second factor where they sign in with a password."""
    now_us: Callable[[], int] = now_us
    attempts: Attempts = field(default_factory=Attempts)
    signins: SignIns = field(init=False)
    _secret: bytes = b""
    _known: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.signins = SignIns(self.database, self.now_us)

    async def sign_in(self, name: str, password: str, source: Source) -> Begun:
        """The session of a name and its password, or what comes before it.

        Raises Forbidden for a wrong name or password, RateLimited after too many attempts,
        Overloaded if too many passwords wait to be checked, and StoreUnavailable while the
        database cannot be reached.
        """
        name = name[:MAX_LENGTH]
        browser = await self.known_browser(name, source.browser)
        try:
            attempt = await self.attempts.admit(name, source.subject, browser)
        except GatewayError:
            await self.signins.refuse(Refused("", "", "too_many"), source)
            raise
        async with self.database.connect() as rows:
            # no name has characters that cannot be shown, and PostgreSQL refuses one of them
            user = await store.USERS.find_by(rows, name=name if name.isprintable() else "")
            # a name that does not exist takes the same statements, and as long, as one that does
            found = "" if user is None else user.id
            person = await find_person(rows, found)
            hashed, _ = await find_credentials(rows, found)
        if person is None or not person.enabled:
            hashed = None
        given, caller = password[: MAX_LENGTH + 1], browser or source.subject
        is_right = await self.passwords.verify(hashed, given, caller, known=attempt.known)
        if person is None or not is_right:
            await self.signins.refuse(Refused(found, name if found else "", "password"), source)
            raise Forbidden("the name or the password is not correct", code="sign_in_failed")
        attempt.succeed()
        return await self.go_on(Pending(person.user_id, name, COMPLETE), source)

    async def go_on(self, passed: Pending, source: Source) -> Begun:
        """What follows the step that was passed, or a sign-in without one: the next one that this
        user needs, or the session."""
        async with self.database.connect() as rows:
            person = await find_person(rows, passed.user_id)
            _, once = await find_credentials(rows, passed.user_id)
            factor = await find_factor(rows, passed.user_id)
        has_factor = factor is not None and factor.confirmed_at_us is not None
        must_enrol = person is not None and person.role in self.factor_roles and not has_factor
        needed = {CODE: has_factor, PASSWORD: once, ENROL: must_enrol}
        left = _STEPS[_STEPS.index(passed.stage) + 1 :] if passed.stage else _STEPS
        stage = next((one for one in left if needed[one]), COMPLETE)
        begun = await self.begin(passed.user_id, stage, source)
        if stage != COMPLETE:
            return begun
        # not before the last step: a known browser may try codes that others may not
        secret = await self._browser_secret()
        return replace(begun, browser=remember_browser(secret, passed.name, source.browser))

    async def known_browser(self, name: str, cookie: str) -> str:
        """The proof that somebody signed in with this name in the browser; "" without one."""
        return known_browser(await self._browser_secret(), name, cookie)

    async def begin(
        self, user_id: str, stage: str = COMPLETE, source: Source | None = None
    ) -> Begun:
        """A new session; its token is never one that a browser brought along."""
        token, now_us = secrets.token_urlsafe(32), self.now_us()
        length_us = self.lifetimes.longest_s * 1_000_000 if stage == COMPLETE else _STEP_US
        place = ("", "") if source is None else (source.address, source.agent)
        session = Session(user_id, now_us, now_us + length_us, stage, *place)
        async with self.database.begin() as rows:
            await add_session(rows, digest_of(token.encode()), session)
            if source is not None and stage == COMPLETE:
                await self.signins.note(rows, "sessions.sign_in", user_id, source)
        return Begun(token, stage)

    async def find_pending(self, token: bytes) -> Pending | None:
        """Who has passed the first step with this token; None where it has expired."""
        session, person = await self._read(token)
        if session is None or person is None or session.stage == COMPLETE or not person.enabled:
            return None
        if self.now_us() >= session.expires_at_us:
            return None
        return Pending(person.user_id, person.user_name, session.stage)

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
        session, person = await self._read(token)
        idle_us = self.lifetimes.idle_s * 1_000_000
        ended = (
            session is None
            or session.stage != COMPLETE
            or now_us >= min(session.expires_at_us, session.seen_at_us + idle_us)
        )
        if session is None or person is None or ended or not person.enabled:
            self._known.pop(digest, None)
            return None
        self._known[digest] = None
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        # often enough that a short time without use is measured
        if counts and now_us - session.seen_at_us > min(_MINUTE_US, idle_us // 4):
            await self._see(digest, now_us)
        return caller_of("", person)

    async def end(self, token: bytes, source: Source | None = None) -> None:
        """Ends a session, if it is one. `source`: who signs out, for the event."""
        digest = digest_of(token)
        self._known.pop(digest, None)
        async with self.database.begin() as rows:
            session = await find_session(rows, digest)
            if session is None:
                return
            await end_session(rows, digest)
            if source is not None and session.stage == COMPLETE:
                await self.signins.note(rows, "sessions.sign_out", session.user_id, source)

    async def of_user(self, user_id: str, token: bytes) -> list[Listed]:
        """The sessions that a user can use at present, the last used first, at most 200. `token`:
        the one of this request."""
        now_us, current = self.now_us(), digest_of(token)
        async with self.database.connect() as rows:
            found = await list_sessions(rows, user_id, now_us)
        idle_us = self.lifetimes.idle_s * 1_000_000
        return [
            Listed(
                _public_id(one.digest), one.digest == current, one.address, one.agent,
                one.created_at_us, one.seen_at_us, one.expires_at_us,
            )
            for one in found
            if now_us < one.seen_at_us + idle_us
        ][:MAX_OF_USER]  # fmt: skip

    async def end_one(self, user_id: str, session_id: str, source: Source) -> None:
        """Ends a session of a user. Raises NotFound if it does not exist or has ended."""
        async with self.database.begin() as rows:
            found = await list_sessions(rows, user_id, self.now_us())
            digests = [one.digest for one in found if _public_id(one.digest) == session_id]
            if not digests:
                raise NotFound("this session does not exist, or has ended")
            await self._end(rows, digests, user_id, source)

    async def end_others(self, user_id: str, token: bytes, source: Source) -> int:
        """Ends every session of a user but the one of this request, and steps towards one."""
        current = digest_of(token)
        async with self.database.begin() as rows:
            found = await list_sessions(rows, user_id, self.now_us())
            digests = [one.digest for one in found if one.digest != current]
            await self._end(rows, digests, user_id, source)
        return len(digests)

    async def _end(self, rows: Rows, digests: list[bytes], user_id: str, source: Source) -> None:
        for digest in digests:
            self._known.pop(digest, None)
            await end_session(rows, digest)
            await self.signins.note(rows, "sessions.end", user_id, source)

    async def _read(self, token: bytes) -> tuple[Session | None, store.Owned | None]:
        if not _TOKEN.fullmatch(token):
            return None, None
        async with self.database.connect() as rows:
            session = await find_session(rows, digest_of(token))
            person = None if session is None else await find_person(rows, session.user_id)
        return session, person

    async def _see(self, digest: bytes, now_us: int) -> None:
        try:
            async with self.database.begin() as rows:
                await see_session(rows, digest, now_us)
        except StoreUnavailable:
            return  # the next request stores it

    async def _browser_secret(self) -> bytes:
        if not self._secret:
            self._secret = await shared_secret(self.database, "browsers")
        return self._secret


def mark_of(token: bytes) -> str:
    """A text that stands for a session's token, and is not a credential."""
    return _public_id(digest_of(token))


def _public_id(digest: bytes) -> str:
    return hashlib.sha256(b"session " + digest).hexdigest()[:24]
