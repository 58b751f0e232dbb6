"""Admin events as a chain: each has a number and the SHA-256 of the digest before and of itself.

An event that is changed, removed or inserted breaks the chain, unless all later ones are written
again. The head is kept apart, so that a chain whose end was cut off is noticed as well. It does not
know what an event means.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from frontend.store.database import Database
from frontend.store.records import Rows
from frontend.store.tables import admin_events, chain_heads

_NAME = "admin_events"
_PAGE = 1000
_FIRST = bytes(32)
_COLUMNS = (
    "id", "at_us", "actor_id", "actor_name", "action", "target_kind", "target_id", "details",
    "request_id", "address", "before", "after", "number",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Head:
    """The last event's number and digest."""

    number: int = 0
    digest: bytes = _FIRST

    def __str__(self) -> str:
        return f"{self.number}:{self.digest.hex()}"


@dataclass(frozen=True, slots=True)
class Break:
    """The first event that does not fit: its number, its id where there is one, and why."""

    number: int
    event_id: str | None
    at_us: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of reading the whole chain."""

    events: int
    head: Head
    broken: Break | None = None


async def append(connection: Rows, event: dict[str, Any]) -> None:
    """Adds an event; others wait until the caller's transaction ends."""
    # as the database will give it back, or the digest could never be computed again
    event = orjson.loads(orjson.dumps(event))
    head = await _locked_head(connection)
    event["number"] = head.number + 1
    digest = _digest(head.digest, event)
    await connection.execute(admin_events.insert().values(**event, chain=digest))
    row = {"number": event["number"], "digest": digest}
    await connection.execute(chain_heads.update().where(chain_heads.c.name == _NAME).values(row))


async def verify(database: Database, expected: Head | None = None) -> Verification:
    """Reads all events. `expected` is a head that was noted earlier and must be part of the chain.

    Raises StoreUnavailable while the database cannot be reached.
    """
    columns = [admin_events.c[name] for name in (*_COLUMNS, "chain")]
    last, head = Head(), None
    async with database.snapshot() as connection:
        unnumbered = select(admin_events.c.id, admin_events.c.at_us)
        row = (
            await connection.execute(unnumbered.where(admin_events.c.number.is_(None)).limit(1))
        ).first()
        if row is not None:
            reason = "the event does not have a number: it was not written by a gateway"
            return Verification(0, last, Break(1, row.id, row.at_us, reason))
        head = await _head(connection) or Head()
        while True:
            page = select(*columns).where(admin_events.c.number > last.number)
            rows = await connection.execute(page.order_by(admin_events.c.number).limit(_PAGE))
            found = [dict(row) for row in rows.mappings()]
            for event in found:
                if broken := _check(last, event, expected):
                    return Verification(last.number, last, broken)
                last = Head(event["number"], event["chain"])
            if len(found) < _PAGE:
                break
    return Verification(last.number, last, _check_end(last, head, expected))


def _check(last: Head, event: dict[str, Any], expected: Head | None) -> Break | None:
    number, stored = event["number"], event["chain"]
    what = {name: event[name] for name in _COLUMNS}
    if number != last.number + 1:
        reason = "the event is missing" if number > last.number + 1 else "the number is repeated"
        return Break(last.number + 1, None, None, f"{reason}; the next one is {event['id']}")
    if stored != _digest(last.digest, what):
        reason = "the event was changed, or one before it was replaced"
        return Break(number, event["id"], event["at_us"], reason)
    if expected is not None and number == expected.number and stored != expected.digest:
        reason = "the chain is not the one whose head was noted"
        return Break(number, event["id"], event["at_us"], reason)
    return None


def _check_end(last: Head, head: Head, expected: Head | None) -> Break | None:
    for other in (head, expected):
        if other is not None and other.number > last.number:
            return Break(last.number + 1, None, None, f"events up to {other.number} are missing")
    if last != head:
        return Break(last.number, None, None, "the head of the chain was changed")
    return None


def _digest(before: bytes, event: dict[str, Any]) -> bytes:
    line = orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(before + line).digest()


async def _locked_head(connection: Rows) -> Head:
    """The head, which only this transaction has: sign-ins do not take the turn of changes."""
    kinds: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    first = kinds[connection.dialect.name](chain_heads).values(name=_NAME, number=0, digest=_FIRST)
    await connection.execute(first.on_conflict_do_nothing())
    columns = chain_heads.c.number, chain_heads.c.digest
    query = select(*columns).where(chain_heads.c.name == _NAME).with_for_update()
    return Head(*(await connection.execute(query)).one())


async def _head(connection: Rows) -> Head | None:
    columns = chain_heads.c.number, chain_heads.c.digest
    row = (await connection.execute(select(*columns).where(chain_heads.c.name == _NAME))).first()
    return None if row is None else Head(*row)
