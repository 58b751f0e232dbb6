"""Usage: a row for each request, and the sums of each UTC hour, written in the same transaction.

So the sums are exactly those of the rows. Reading uses the sums alone, and pages by their key.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select, tuple_

from frontend.domain.ids import new_id
from frontend.domain.metering import UsageRow
from frontend.store.database import Database
from frontend.store.ledger import Books
from frontend.store.tables import usage, usage_hourly

_HOUR_US = 3_600_000_000
SUMS = (
    "requests",
    "failures",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "images",
    "credits_micro",
    "price_micro",
    "duration_us",
)
OWNERS = ("organisation_id", "group_id", "user_id", "key_id")
KEY = ("hour_at_us", *OWNERS, "model")


def add_usage(books: Books, rows: Sequence[UsageRow]) -> None:
    """Writes rows that are not there yet, and adds them to their hours."""
    if not rows:
        return
    values = [_values(row) for row in rows]
    books.connection.execute(usage.insert(), values)
    statement = books.insert(usage_hourly)
    sums = {name: usage_hourly.c[name] + statement.excluded[name] for name in SUMS}
    statement = statement.on_conflict_do_update(index_elements=list(KEY), set_=sums)
    books.connection.execute(statement, _hours(values))


def existing(books: Books, request_ids: Collection[str]) -> set[str]:
    """Those of the requests that have a row."""
    ids = list(request_ids)
    statement = select(usage.c.request_id).where(usage.c.request_id.in_(ids))
    return {row[0] for row in books.connection.execute(statement)}


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


def _hours(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One sum for each hour, owner and model; in order, so that two gateways do not deadlock."""
    hours: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        hour_us = row["started_at_us"] - row["started_at_us"] % _HOUR_US
        key = (hour_us, *(row[name] for name in OWNERS), row["model"])
        sums = hours.setdefault(key, dict(zip(KEY, key, strict=True)) | dict.fromkeys(SUMS, 0))
        sums["requests"] += 1
        sums["failures"] += row["status"] >= 400
        for name in SUMS[2:]:
            sums[name] += row[name]
    return [hours[key] for key in sorted(hours)]


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """The hours from `start_us` on and before `end_us`, of some owners and one model."""

    start_us: int
    end_us: int
    owners: dict[str, str] = field(default_factory=dict)
    """Ids by `organisation_id`, `group_id`, `user_id` or `key_id`."""
    model: str | None = None


class UsageStore:
    """Reads the sums."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def hours(
        self, chosen: UsageFilter, after: Sequence[Any] | None, most: int
    ) -> list[dict[str, Any]]:
        """The sums by hour, owner and model, in the order of their key, after the key `after`."""
        columns = [usage_hourly.c[name] for name in KEY]
        statement = _where(select(usage_hourly), chosen).order_by(*columns).limit(most)
        if after is not None:
            statement = statement.where(tuple_(*columns) > tuple_(*after))
        async with self._database.connect() as connection:
            return [dict(row._mapping) for row in await connection.execute(statement)]

    async def totals(self, chosen: UsageFilter) -> dict[str, int]:
        """The sums over all of it."""
        sums = [func.coalesce(func.sum(usage_hourly.c[name]), 0).label(name) for name in SUMS]
        async with self._database.connect() as connection:
            row = (await connection.execute(_where(select(*sums), chosen))).one()
        return {name: int(row._mapping[name]) for name in SUMS}


def _where(statement: Any, chosen: UsageFilter) -> Any:
    table = usage_hourly.c
    statement = statement.where(
        table.hour_at_us >= chosen.start_us, table.hour_at_us < chosen.end_us
    )
    for name, value in chosen.owners.items():
        statement = statement.where(table[name] == value)
    return statement if chosen.model is None else statement.where(table.model == chosen.model)
