"""Reads sums of usage: for each of the parts of a range, by some columns.

What has the fewest rows is read: whole days, quarters of an hour or hours of a view that has every
column of the question, and rows alone for what is left at the ends of a part. All of them are
disjoint, so the parts of a range add up to it. No more parts are read than a page shows.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

from sqlalchemy import (
    Integer,
    and_,
    case,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy import cast as sql_cast

from frontend.store.database import Database
from frontend.store.rollups import HOUR_US, SUMS, VIEWS
from frontend.store.tables import usage, usage_hourly, usage_rollups
from frontend.store.tables.usage import COUNTS

_ALONE = 64
"""Parts in a statement that are not read as one piece; SQLite allows 500 terms in a union."""
_FIRST = 8
"""Parts in the first statement, of which the others learn how many parts a page has."""
_MANY = ("user_id", "key_id")
Part = tuple[int, int]


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """What starts from `start_us` on and before `end_us`, of some owners and one model."""

    start_us: int
    end_us: int
    owners: dict[str, str] = field(default_factory=dict)
    """Ids by `organisation_id`, `group_id`, `user_id` or `key_id`."""
    model: str | None = None

    @property
    def conditions(self) -> dict[str, str]:
        """The columns that must have a value."""
        return self.owners if self.model is None else {**self.owners, "model": self.model}


@dataclass(frozen=True, slots=True)
class _Source:
    """A table, or a view of one, with the sums of each `step_us`; 1: the rows themselves."""

    table: Any
    at: Any
    step_us: int
    view: int | None = None

    def select(
        self, by: Sequence[str], chosen: UsageFilter, within: Part, number: Any, *more: Any
    ) -> Any:
        """The sums of a time; `number` is an expression for the number of the part, `more` are
        conditions."""
        columns = self.table.c
        failed = case((columns.status >= 400, 1), else_=0) if self.table is usage else None
        own = () if failed is None else (literal(1).label("requests"), failed.label("failures"))
        sums = [columns[name] for name in (COUNTS if own else SUMS)]
        conditions = [columns[name] == value for name, value in chosen.conditions.items()]
        if self.view is not None:
            # as text: SQLite must know it, to use an index of a part of the table
            conditions.append(columns.view == literal_column(str(self.view)))
            # usage of pages has no key, and is in the table without being in these indexes
            partial = [name for name in ("group_id", *_MANY) if chosen.owners.get(name)]
            conditions += [columns[name] != literal_column("''") for name in partial]
        if own and "key_id" in chosen.owners and "user_id" not in chosen.owners:
            # rows have an index by user and none by key
            conditions.append(columns.user_id.in_(_users_of(chosen.owners["key_id"], within)))
        return select(
            number.label("part"), *(columns[name] for name in by), *own, *sums
        ).where(self.at >= within[0], self.at < within[1], *conditions, *more)  # fmt: skip

    def number(self, start_us: int, length_us: int, first: int) -> Any:
        """The number of the part of a row, of parts of one length from `start_us` on."""
        return sql_cast((self.at - start_us) // length_us, Integer) + first


def _users_of(key_id: str, within: Part) -> Any:
    """Those who used a key in a range, of the hours that have an index by key."""
    start_us, end_us = within
    columns = usage_hourly.c
    return (
        select(columns.user_id)
        .distinct()
        .where(columns.key_id == key_id)
        .where(columns.hour_at_us >= start_us - start_us % HOUR_US, columns.hour_at_us < end_us)
    )


_ROWS = _Source(usage, usage.c.started_at_us, 1)
_HOURS = _Source(usage_hourly, usage_hourly.c.hour_at_us, HOUR_US)


class Reports:
    """Reads the sums."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sums(self, chosen: UsageFilter) -> dict[str, int]:
        """The sums of a whole range."""
        rows = await self.parts(chosen, [(chosen.start_us, chosen.end_us)], (), None, 1)
        return {name: rows[0][name] for name in SUMS} if rows else dict.fromkeys(SUMS, 0)

    async def parts(
        self,
        chosen: UsageFilter,
        parts: Sequence[Part],
        by: Sequence[str],
        after: Sequence[str] | None,
        most: int,
        largest: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """At most so many sums of parts, which adjoin, by some columns, in this order.

        Parts without usage are left out. `after`: values of `by`; those up to them are left out of
        the first part. `largest`: sums of one part that are added; the largest row comes first
        then. Each row has the number of its part as `part`.
        """
        sources, rows = _sources(chosen, by), list[dict[str, Any]]()
        first, count = 0, _FIRST
        # many owners fill a page from few parts, and their sums are many, too
        if set(_MANY) & set(by) and not set(_MANY) & chosen.owners.keys():
            count = 1
        async with self._database.connect() as connection:
            while first < len(parts) and len(rows) < most:
                pieces, end = _pieces(sources, chosen, parts, (first, first + count), by)
                start_after = None if first or after is None else after
                statement = _statement(pieces, by, start_after, most - len(rows), largest)
                found = (await connection.execute(statement)).all()
                rows += [dict(zip(("part", *by, *SUMS), row, strict=True)) for row in found]
                first, count = end, _more(end, len(rows), most)
        for row in rows:
            row |= {name: int(row[name]) for name in ("part", *SUMS)}
        return rows


def _more(read: int, found: int, most: int) -> int:
    """How many parts to read next, where `read` ones had `found` rows of `most`."""
    if not found:
        return 4 * read
    return min(4 * read, 1 + math.ceil(1.1 * read * (most - found) / found))


def _statement(
    pieces: list[Any],
    by: Sequence[str],
    after: Sequence[str] | None,
    most: int,
    largest: Sequence[str],
) -> Any:
    every = union_all(*pieces).subquery()
    columns = [every.c[name] for name in ("part", *by)]
    sums = [func.sum(every.c[name]).label(name) for name in SUMS]
    order: list[Any] = list(columns)
    if largest:
        size = reduce(add, (func.sum(every.c[name]) for name in largest))
        order.insert(0, size.desc())
    statement = select(*columns, *sums).group_by(*columns).order_by(*order).limit(most)
    if after is None:
        return statement
    # of the first part, and without columns there is nothing after its only row
    return statement.where(tuple_(*columns) > tuple_(0, *after) if by else columns[0] > 0)


def _sources(chosen: UsageFilter, by: Sequence[str]) -> list[_Source]:
    """What has every column of a question, from the longest step to the rows."""
    columns = {*by, *chosen.conditions}
    found = {HOUR_US: _HOURS, 1: _ROWS}
    for view in reversed(VIEWS):
        if columns <= set(view.columns):
            at = usage_rollups.c.at_us
            found[view.step_us] = _Source(usage_rollups, at, view.step_us, view.number)
    if any(1 < step_us < HOUR_US for step_us in found):
        del found[HOUR_US]  # a view by quarters of an hour has fewer rows than the hours
    return [found[step_us] for step_us in sorted(found, reverse=True)]


def _pieces(
    sources: list[_Source],
    chosen: UsageFilter,
    parts: Sequence[Part],
    window: tuple[int, int],
    by: Sequence[str],
) -> tuple[list[Any], int]:
    """Selections for the parts of a window, and the number of the first part without one."""
    pieces, alone = list[Any](), 0
    for first, last in _runs(parts, window):
        if alone == _ALONE:
            return pieces, first
        start_us, length_us = parts[first][0], _length(parts[first])
        # whole parts consist of its steps; a row fits anything
        source = next(
            one for one in sources if not (start_us % one.step_us or length_us % one.step_us)
        )
        # the longest steps of which each part has a whole one wherever it starts
        steps = next(one for one in sources if 2 * one.step_us <= max(length_us, 2))
        if last - first == 1:
            pass
        elif source.step_us > 1 and source.step_us >= steps.step_us:
            number = source.number(start_us, length_us, first)
            pieces.append(source.select(by, chosen, (start_us, parts[last - 1][1]), number))
            continue
        elif steps is sources[-2] and not length_us % steps.step_us:
            end = min(last, first + _ALONE - alone)
            alone += end - first
            pieces += _divided(steps, chosen, parts[first:end], by, first)
            if end < last:
                return pieces, end
            continue
        for index in range(first, last):
            if alone == _ALONE:
                return pieces, index
            alone += 1
            covers = _cover(sources, parts[index])
            pieces += [one.select(by, chosen, within, literal(index)) for one, within in covers]
    return pieces, min(window[1], len(parts))


def _divided(
    source: _Source, chosen: UsageFilter, parts: Sequence[Part], by: Sequence[str], first: int
) -> list[Any]:
    """Parts of one length whose ends divide steps: all whole steps, and the rows of the others."""
    step_us, length_us = source.step_us, _length(parts[0])
    start_us, end_us = parts[0][0], parts[-1][1]
    inside = (source.at - start_us) % length_us <= length_us - step_us
    whole = (start_us + -start_us % step_us, end_us - end_us % step_us)
    number = source.number(start_us, length_us, first)
    ends = [start_us, *(end for _, end in parts)]
    floors = [end_us - end_us % step_us for end_us in ends]
    at = _ROWS.at
    of_ends = or_(*(and_(at >= floor, at < floor + step_us) for floor in floors))
    return [
        source.select(by, chosen, whole, number, inside),
        _ROWS.select(
            by, chosen, (start_us, end_us), _ROWS.number(start_us, length_us, first), of_ends
        ),
    ]


def _runs(parts: Sequence[Part], window: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Numbers of parts with one length, one after the other: from the first to before the last."""
    first, end = window[0], min(window[1], len(parts))
    for index in range(first + 1, end + 1):
        if index == end or _length(parts[index]) != _length(parts[first]):
            yield first, index
            first = index


def _length(part: Part) -> int:
    return part[1] - part[0]


def _cover(sources: Sequence[_Source], part: Part) -> Iterator[tuple[_Source, Part]]:
    """The largest steps within a part, and smaller ones at its ends."""
    if part[0] >= part[1]:
        return
    source, *finer = sources
    start_us, end_us = part[0] + -part[0] % source.step_us, part[1] - part[1] % source.step_us
    if start_us >= end_us:
        yield from _cover(finer, part)
        return
    yield source, (start_us, end_us)
    yield from _cover(finer, (part[0], start_us))
    yield from _cover(finer, (end_us, part[1]))
