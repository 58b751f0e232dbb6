"""Results of requests that clients may repeat under the same idempotency key.

The row is written in the transaction of the change itself: there is no moment at which a request
was carried out and its key is not known.
"""

from dataclasses import dataclass

import orjson
from sqlalchemy import ColumnElement, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from frontend.errors import Conflict
from frontend.store.tables import idempotency_keys as table

_KEPT_US = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Repeat:
    """A client's idempotency key, the action, and a digest of the request."""

    owner_id: str
    key: str
    action: str
    request_digest: bytes


async def begin_once(
    connection: AsyncConnection, repeat: Repeat, now_us: int
) -> dict[str, str] | None:
    """None the first time, and what `keep` stored then. Raises Conflict for another request."""
    # here, because only requests with such a key make rows
    await connection.execute(table.delete().where(table.c.expires_at_us < now_us))
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    row = {
        "owner_id": repeat.owner_id,
        "key": repeat.key,
        "action": repeat.action,
        "request_digest": repeat.request_digest,
        "created_at_us": now_us,
        "expires_at_us": now_us + _KEPT_US,
    }
    # waits for a transaction that carries out the same request
    made = await connection.execute(insert(table).values(row).on_conflict_do_nothing())
    if made.rowcount:
        return None
    query = select(table.c.action, table.c.request_digest, table.c.answer)
    stored = (await connection.execute(query.where(*_is(repeat)))).one()
    if (stored[0], stored[1]) != (repeat.action, repeat.request_digest):
        raise Conflict(
            f"the Idempotency-Key '{repeat.key}' was used for another request",
            param="idempotency-key",
            code="idempotency_key_reused",
        )
    answer: dict[str, str] = orjson.loads(stored[2])
    return answer


async def keep(connection: AsyncConnection, repeat: Repeat, answer: dict[str, str]) -> None:
    """Stores what leads to the same answer again; never a secret."""
    change = table.update().where(*_is(repeat))
    await connection.execute(change.values(answer=orjson.dumps(answer), status=200))


def _is(repeat: Repeat) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return table.c.owner_id == repeat.owner_id, table.c.key == repeat.key
