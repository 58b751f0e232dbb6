"""Sums of usage by time and few columns, for reports over everybody.

A row of usage is added to every view in the transaction that writes it, by the time of its start:
so each view adds up to the rows, however late a request is settled. Quarters of an hour are the
largest steps that every time zone's days consist of. It does not know questions or time zones.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from frontend.store.ledger.books import Books
from frontend.store.tables import usage_hourly, usage_rollups
from frontend.store.tables.usage import COUNTS, OWNERS

QUARTER_US = 900_000_000
HOUR_US = 3_600_000_000
DAY_US = 86_400_000_000
_SHARDS = 16
SUMS = ("requests", "failures", *COUNTS)
COLUMNS = (*OWNERS, "model")
_KEY = ("at_us", *COLUMNS)
_GROUP = OWNERS[:2]


@dataclass(frozen=True, slots=True)
class View:
    """Sums by `columns` for each `step_us` since 1970; `number` is how its rows are stored."""

    number: int
    step_us: int
    columns: tuple[str, ...]


VIEWS = (
    View(1, QUARTER_US, ("model",)),
    View(2, QUARTER_US, _GROUP),
    View(3, QUARTER_US, (*_GROUP, "model")),
    View(4, DAY_US, ("model",)),
    View(5, DAY_US, _GROUP),
    View(6, DAY_US, OWNERS),
    View(7, DAY_US, COLUMNS),
)
"""Those with fewer rows come first, among those of one step. The numbers are stored: migrations
must fill what is added here."""


def add_sums(books: Books, rows: Iterable[dict[str, Any]], writer: str) -> None:
    """Adds rows of usage to their hours and to every view. `writer`: the gateway's id."""
    shard = zlib.crc32(writer.encode()) % _SHARDS
    ones = [
        # the time of the start: a row never moves to another hour
        {"at_us": row["started_at_us"], "requests": 1, "failures": row["status"] >= 400, **row}
        for row in rows
    ]
    # every step consists of quarters: few sums of a quarter stand for many rows
    quarters = _summed(ones, QUARTER_US, COLUMNS)
    hours = _summed(quarters, HOUR_US, COLUMNS)
    _add(books, usage_hourly, [{"hour_at_us": one.pop("at_us"), **one} for one in hours])
    views = [
        {"view": view.number, "shard": shard, **one}
        for view in VIEWS
        for one in _summed(quarters, view.step_us, view.columns)
    ]
    _add(books, usage_rollups, views)


def _summed(
    rows: Iterable[dict[str, Any]], step_us: int, columns: tuple[str, ...]
) -> list[dict[str, Any]]:
    """One sum for each time and columns; in order, so that two gateways do not deadlock."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        at_us = row["at_us"] - row["at_us"] % step_us
        key = (at_us, *(row[name] if name in columns else "" for name in COLUMNS))
        sums = found.get(key)
        if sums is None:
            sums = dict(zip(_KEY, key, strict=True)) | dict.fromkeys(SUMS, 0)
            found[key] = sums
        for name in SUMS:
            sums[name] += row[name]
    return [sums for _, sums in sorted(found.items(), key=lambda one: one[0])]


def _add(books: Books, table: Any, rows: list[dict[str, Any]]) -> None:
    books.connection.execute(_addition(books.insert, table), rows)


@cache
def _addition(insert: Any, table: Any) -> Any:
    """An upsert that adds. Made once for each dialect and table: it costs more than its execution
    for a few rows."""
    statement = insert(table)
    sums = {name: table.c[name] + statement.excluded[name] for name in SUMS}
    keys = [column.name for column in table.primary_key]
    return statement.on_conflict_do_update(index_elements=keys, set_=sums)
