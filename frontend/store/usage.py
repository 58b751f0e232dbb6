"""Usage: a row for each request, and the sums of each UTC hour, written in the same transaction.

So the sums are exactly those of the rows. Reading uses the sums alone, and pages by their key.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import case, func, literal, select, tuple_, union_all

from frontend.domain.ids import first_id, new_id
from frontend.domain.metering import UsageRow
from frontend.store.database import Database
from frontend.store.ledger.books import Books
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
        # the hour of the start: a row never moves to another hour
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


@dataclass(frozen=True, slots=True)
class Served:
    """What one request used, for the scheduler."""

    request_id: str
    group: str
    user: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


class UsageStore:
    """Reads the sums."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sums(
        self, chosen: UsageFilter, by: Sequence[str], after: Sequence[str] | None, most: int
    ) -> list[dict[str, Any]]:
        """The sums by some columns, in their order, after the row with the values `after`.

        Whole hours are read from the sums, the parts of hours at both ends from the rows.
        """
        pieces = union_all(*_pieces(chosen, by)).subquery()
        columns = [pieces.c[name] for name in by]
        sums = [func.coalesce(func.sum(pieces.c[name]), 0).label(name) for name in SUMS]
        statement = select(*columns, *sums).group_by(*columns).order_by(*columns).limit(most)
        if after is not None and columns:
            statement = statement.where(tuple_(*columns) > tuple_(*after))
        async with self._database.connect() as connection:
            found = (await connection.execute(statement)).all()
        # without columns there is one row, so nothing follows it
        if after is not None and not by:
            return []
        rows = [dict(zip((*by, *SUMS), row, strict=True)) for row in found]
        shown = [{**row, **{name: int(row[name]) for name in SUMS}} for row in rows]
        # an aggregate without groups has a row also where nothing was found
        return [row for row in shown if row["requests"]]

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

    async def hours(self, chosen: UsageFilter) -> list[int]:
        """The hours of a range that have any usage, in order."""
        hours = usage_hourly.c
        statement = (
            select(hours.hour_at_us)
            .where(hours.hour_at_us > chosen.start_us - _HOUR_US)
            .where(hours.hour_at_us < chosen.end_us, *_are(hours, chosen))
            .distinct()
            .order_by(hours.hour_at_us)
        )
        async with self._database.connect() as connection:
            return [int(row[0]) for row in await connection.execute(statement)]


def _pieces(chosen: UsageFilter, by: Sequence[str]) -> list[Any]:
    """What covers the range: hours, and rows before the first and after the last whole hour."""
    start_us, end_us = chosen.start_us, chosen.end_us
    first_us, last_us = start_us + -start_us % _HOUR_US, end_us - end_us % _HOUR_US
    if first_us > last_us:
        return [_rows(chosen, by, start_us, end_us)]
    hours = usage_hourly.c
    columns = [hours[name] for name in by] + [hours[name] for name in SUMS]
    within = (hours.hour_at_us >= first_us, hours.hour_at_us < last_us)
    pieces = [select(*columns).where(*within, *_are(hours, chosen))]
    for begin_us, stop_us in ((start_us, first_us), (last_us, end_us)):
        if begin_us < stop_us:
            pieces.append(_rows(chosen, by, begin_us, stop_us))
    return pieces


def _rows(chosen: UsageFilter, by: Sequence[str], start_us: int, end_us: int) -> Any:
    rows = usage.c
    failed = case((rows.status >= 400, 1), else_=0)
    own = [literal(1).label("requests"), failed.label("failures")]
    columns = [rows[name] for name in by] + own + [rows[name] for name in SUMS[2:]]
    within = (rows.started_at_us >= start_us, rows.started_at_us < end_us)
    return select(*columns).where(*within, *_are(rows, chosen))


def _are(table: Any, chosen: UsageFilter) -> list[Any]:
    conditions = [table[name] == value for name, value in chosen.owners.items()]
    return conditions if chosen.model is None else [*conditions, table.model == chosen.model]
