"""Usage: a row for each request, and what has to be summed with it in the same transaction.

`store.rollups` has the sums and `store.reports` reads them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select

from frontend.domain.ids import first_id, new_id
from frontend.domain.metering import UsageRow
from frontend.store.database import Database
from frontend.store.ledger.books import Books
from frontend.store.rollups import add_sums
from frontend.store.tables import usage

_ADD = usage.insert()
_EXISTING = select(usage.c.request_id).where(
    usage.c.request_id.in_(bindparam("ids", expanding=True))
)


def add_usage(books: Books, rows: Sequence[UsageRow], writer: str = "") -> None:
    """Writes rows that are not there yet, and adds them to the sums. `writer`: the gateway's id."""
    if not rows:
        return
    values = [_values(row) for row in rows]
    books.connection.execute(_ADD, values)
    add_sums(books, values, writer)


def existing(books: Books, request_ids: Collection[str]) -> set[str]:
    """Those of the requests that have a row."""
    return {row[0] for row in books.of_many(_EXISTING, request_ids)}


def _values(row: UsageRow) -> dict[str, Any]:
    owner, used = row.owner, row.usage
    return {
        "id": new_id(),
        "request_id": row.request_id,
        "organisation_id": owner.organisation,
        "group_id": owner.group,
        "user_id": owner.user,
        "key_id": owner.key,
        "model": row.model,
        "dialect": row.dialect,
        "endpoint": row.endpoint,
        "upstream": row.upstream,
        "status": row.status,
        "estimated": row.estimated,
        "prompt_tokens": used.prompt_tokens,
        "cached_tokens": used.cached_tokens,
        "completion_tokens": used.completion_tokens,
        "reasoning_tokens": used.reasoning_tokens,
        "images": row.images,
        "credits_micro": row.credits,
        "price_micro": row.price,
        "duration_us": row.duration_us,
        "started_at_us": row.started_us,
    }


@dataclass(frozen=True, slots=True)
class Served:
    """The usage of one request, for the scheduler."""

    request_id: str
    group: str
    user: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


class UsageStore:
    """Reads the rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def served_since(self, at_s: float, most: int = 10_000) -> list[Served]:
        """What the newest requests used, of those written down since a moment, newest first."""
        rows = usage.c
        statement = (
            select(
                rows.request_id, rows.group_id, rows.user_id,
                rows.prompt_tokens, rows.cached_tokens, rows.completion_tokens,
            )
            .where(rows.id >= first_id(at_s))
            .order_by(rows.id.desc())
            .limit(most)
        )  # fmt: skip
        async with self._database.connect() as connection:
            return [Served(*row) for row in await connection.execute(statement)]
