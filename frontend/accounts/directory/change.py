"""One change of accounts: its author, its transaction and its event."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from frontend.accounts.directory.actor import Actor
from frontend.domain.ids import new_id
from frontend.store import accounts as store
from frontend.store import chain
from frontend.store.database import Database
from frontend.store.idempotency import Repeat, begin_once, keep
from frontend.store.records import JOURNAL, Rows
from frontend.store.retention import now_us


@dataclass(slots=True)
class Change:
    """A transaction. One that does not read `kept` is carried out by every request."""

    connection: Rows
    now_us: int
    earlier: dict[str, str] | None = None
    was_read: bool = False
    target_kind: str = ""
    target_id: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, str] = field(default_factory=dict)
    rows: list[tuple[str, str, dict[str, Any] | None, dict[str, Any] | None]] = field(
        default_factory=list
    )
    """Kind, id, and the columns before and after, of every row that was changed."""

    @property
    def kept(self) -> dict[str, str] | None:
        """The result of an earlier request with the same idempotency key, to be returned
        instead of changing anything."""
        self.was_read = True
        return self.earlier

    @property
    def is_repeated(self) -> bool:
        """Whether nothing is changed, because an earlier request did."""
        return self.was_read and self.earlier is not None

    def note(self, kind: str, target_id: str, **details: Any) -> None:
        """Sets the event's details and the result for repeated requests; never a secret."""
        self.target_kind, self.target_id, self.details = kind, target_id, details
        self.answer = {"id": target_id, **self.answer}


@dataclass(frozen=True, slots=True)
class Changes:
    """Makes changes in one database."""

    database: Database
    now_us: Callable[[], int] = now_us

    @asynccontextmanager
    async def begin(self, actor: Actor, action: str) -> AsyncIterator[Change]:
        """A change that is committed at the end of the block.

        Raises Conflict for an idempotency key of another request, and StoreUnavailable while the
        database cannot be reached.
        """
        now_us = self.now_us()
        async with self.database.begin() as connection:
            change = Change(connection, now_us)
            await connection.execution_options(**{JOURNAL: change.rows})
            await store.count_change(connection)  # first, so that changes take turns
            repeat = _repeat_of(actor, action)
            if repeat is not None:
                change.earlier = await begin_once(connection, repeat, now_us)
            yield change
            # a repetition has changed nothing, so there is no event to write
            if change.is_repeated or not change.target_id:
                return
            if repeat is not None:
                await keep(connection, repeat, change.answer)
            await write_event(change, actor, action)


def _repeat_of(actor: Actor, action: str) -> Repeat | None:
    if not actor.idempotency_key:
        return None
    return Repeat(actor.id, actor.idempotency_key, action, hashlib.sha256(actor.body).digest())


async def write_event(change: Change, actor: Actor, action: str) -> None:
    """Writes what a change has noted. Also for events that change no account, such as a sign-in."""
    before, after = _difference(change.rows)
    event = {
        "id": new_id(),
        "at_us": change.now_us,
        "actor_id": actor.id,
        "actor_name": actor.name,
        "action": action,
        "target_kind": change.target_kind,
        "target_id": change.target_id,
        "details": change.details,
        "request_id": actor.request_id,
        "address": actor.address,
        "before": before,
        "after": after,
    }
    await chain.append(change.connection, event)


def _difference(
    rows: Iterable[tuple[str, str, dict[str, Any] | None, dict[str, Any] | None]],
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The columns that changed, by `kind:id`, before and after; None: there was nothing."""
    befores: dict[str, dict[str, Any] | None] = {}
    afters: dict[str, dict[str, Any] | None] = {}
    for kind, key, before, after in rows:
        name = f"{kind}:{key}"
        befores.setdefault(name, before)  # of several changes of a row, the first one
        afters[name] = after
    old: dict[str, Any] = {}
    new: dict[str, Any] = {}
    for name, stored in befores.items():
        before, after = stored or {}, afters[name] or {}
        columns = [c for c in {**before, **after} if before.get(c) != after.get(c)]
        if before and columns:
            old[name] = {c: before[c] for c in columns if c in before}
        if after and columns:
            new[name] = {c: after[c] for c in columns if c in after}
    return old or None, new or None
