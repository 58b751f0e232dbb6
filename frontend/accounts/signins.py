"""Writes events of sign-ins, sign-outs and failed attempts to the chain of admin events.

Anybody can cause failures, so there is at most one event of a failure per second; the next event
counts those that were left out. Names that do not exist are not written, because people sometimes
type passwords there.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.change import Change, write_event
from frontend.accounts.throttle import Throttle
from frontend.errors import StoreUnavailable
from frontend.store import accounts as store
from frontend.store.database import Database
from frontend.store.records import Rows

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """Where an attempt comes from: its address, what failures there are counted for, the request,
    and the cookie that says who has signed in with this browser before."""

    address: str = ""
    subject: str = ""
    request_id: str = ""
    browser: str = ""
    method: str = "password"
    agent: str = ""
    """What the browser says it is."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An attempt that failed. `user_id` and `name` are empty where there is no such user."""

    user_id: str
    name: str
    reason: str


@dataclass(slots=True)
class SignIns:
    """Writes the events of one gateway process."""

    database: Database
    now_us: Callable[[], int]
    budget: Throttle = field(default_factory=lambda: Throttle(60, 1.0))
    _held_back: int = 0

    async def note(self, rows: Rows, action: str, user_id: str, source: Source) -> None:
        """An event of a user, in the transaction of what happened."""
        user = await store.USERS.find(rows, user_id)
        name = "" if user is None else user.name
        await self._write(rows, action, Actor(user_id, name, frozenset()), source, {})

    async def refuse(self, refused: Refused, source: Source) -> None:
        """An event of an attempt that failed, within the budget."""
        if self.budget.fail([""]) > 0:
            self._held_back += 1
            return
        details = {"reason": refused.reason}
        if self._held_back:
            details["failures_before_that_have_no_event"] = str(self._held_back)
        actor = Actor(refused.user_id or "unknown", refused.name, frozenset())
        try:
            async with self.database.begin() as rows:
                await self._write(rows, "sessions.refuse", actor, source, details)
        except StoreUnavailable as error:
            _log.warning("the event of a failed sign-in was not written: %s", error)
            return
        self._held_back = 0

    async def _write(
        self, rows: Rows, action: str, actor: Actor, source: Source, details: dict[str, str]
    ) -> None:
        who = Actor(
            actor.id,
            actor.name,
            frozenset(),
            request_id=source.request_id,
            address=source.address,
        )
        change = Change(rows, self.now_us())
        change.note("user", actor.id, method=source.method, **details)
        await write_event(change, who, action)
