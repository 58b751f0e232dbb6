"""The newest ids that match several filters, or words, in PostgreSQL.

A frequent combination is among the newest rows of one filter; a rare one is in an inverted index
(GIN), which intersects the lists of rows that have each value. That index has no order, so it is
asked for one block of time after the other, and for smaller blocks where too many rows match: every
statement reads a bounded number of rows. Names in a statement are constants; values are bound.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from frontend.store.audit.blocks import block_words, groups_of, parts_of, word_of

_WALKED = 1000
"""Entries of an index that are read in the order of time: about a millisecond."""
_WALKED_TEXTS = 100
"""Rows of texts, which cost more."""
_FREQUENT = 0.05
"""Of the newest texts: an inverted index would collect the rows of all words that begin so."""
_MOST = 5000
"""Rows of a block that are fetched and sorted: about 10 ms."""
_LARGE = 2
"""The level from which on blocks may have more rows than the filters."""
_BLOCKS = ", ".join(block_words())
# the expressions of migration 0008: PostgreSQL uses an index only for the same ones
_FILTERS = (
    "(ARRAY['u' || user_id, 'g' || group_id, 'm' || model, 's' || CAST(status AS text), "
    f"{_BLOCKS}])"
)
_WORDS = f"array_to_tsvector(string_to_array(words, ' ') || ARRAY[{_BLOCKS}])"
# the planner assumes that filters do not depend on each other, and does not know what words cost;
# this is until the end of the transaction, whose rows of a page come by their primary key anyway
_ONLY_INVERTED = text(
    "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'off', true),"
    " set_config('enable_indexonlyscan', 'off', true)"
)


@dataclass(frozen=True, slots=True)
class _Question:
    """A query of one table."""

    rows: str
    """A statement for the ids that match in the blocks `:blocks`, from `:low` to below `:high`."""
    large: str
    """The same, for blocks that may have more rows than the filters."""
    values: dict[str, Any]
    words: str | None = None
    """The query of words that the blocks are a part of; None: they are a list."""

    def blocks(self, level: int, numbers: Iterable[int]) -> object:
        """The value of `:blocks`."""
        named = [word_of(level, number) for number in numbers]
        if self.words is None:
            return named
        return " & ".join(filter(None, (self.words, f"({' | '.join(map(repr, named))})")))


@dataclass(frozen=True, slots=True)
class Newest:
    """Finds up to `limit` ids from `low` to below `high`, the newest first."""

    connection: Connection
    low: int
    high: int
    limit: int

    def with_filters(self, equal: dict[str, str], statuses: tuple[int, ...]) -> list[int]:
        """Ids of records with several filters, of which `equal` has at least one."""
        lead = next(name for name in ("user_id", "group_id", "model") if name in equal)
        hits = " AND ".join(f"{name} = :{name}" for name in equal)
        values: dict[str, Any] = {**equal}
        values["all"] = [name[0] + value for name, value in equal.items()]
        some = ""
        if statuses:
            hits += " AND status = ANY(CAST(:statuses AS integer[]))"
            values["statuses"] = [*statuses]
        if len(statuses) == 1:
            values["all"].append(f"s{statuses[0]}")
        elif statuses:
            some = f" AND {_FILTERS} && CAST(:some AS text[])"
            values["some"] = [f"s{one}" for one in statuses]
        newest = (
            f"SELECT id, {hits} AS hit FROM audit_records"  # noqa: S608
            f" WHERE {lead} = :{lead} AND id >= :low AND id < :high ORDER BY id DESC LIMIT :walked"
        )
        found, end, oldest = self._walk("audit_records", newest, _WALKED, values)
        within = f"{some} AND id + 0 >= :low AND id + 0 < :high"
        # one block at a time, so that the index begins with the few rows of a small block
        rows = (
            "SELECT id FROM unnest(CAST(:blocks AS text[])) AS block(word) JOIN audit_records"  # noqa: S608
            f" ON {_FILTERS} @> (CAST(:all AS text[]) || block.word){within}"
        )
        large = (
            f"SELECT id FROM audit_records WHERE {_FILTERS} @> CAST(:all AS text[])"  # noqa: S608
            f" AND {_FILTERS} && CAST(:blocks AS text[]){within}"
        )
        asked = _Question(rows, large, values)
        return self._older(found, oldest, end, asked)

    def with_words(self, words: Iterable[str], statuses: Iterable[str]) -> list[int]:
        """Ids of records that have all words, and one of the words of statuses if there are any.

        A word may end with `*`.
        """
        words, statuses = [*words], [*statuses]
        hits = [_has("all_" + str(number)) for number in range(len(words))]
        values: dict[str, Any] = {f"all_{n}": _spaced(word) for n, word in enumerate(words)}
        if statuses:
            hits.append(f"({' OR '.join(_has(f'one_{n}') for n in range(len(statuses)))})")
            values |= {f"one_{n}": _spaced(word) for n, word in enumerate(statuses)}
        newest = (
            f"SELECT id, {' AND '.join(hits)} AS hit, words FROM audit_contents"  # noqa: S608
            " WHERE id >= :low AND id < :high ORDER BY id DESC LIMIT :walked"
        )
        beginnings = [n for n, word in enumerate(words) if word.endswith("*")]
        counts = [f"count(*) FILTER (WHERE {hits[n]})" for n in beginnings]
        found, end, oldest, *counted = self._walk(
            "audit_contents", newest, _WALKED_TEXTS, values, counts
        )
        frequent = [
            n for n, count in zip(beginnings, counted, strict=True)
            if count >= _FREQUENT * _WALKED_TEXTS
        ]  # fmt: skip
        query = [_lexeme(word) for n, word in enumerate(words) if n not in frequent]
        if statuses:
            query.append(f"({' | '.join(map(_lexeme, statuses))})")
        filters = "".join(f" AND {hits[n]}" for n in frequent)
        rows = (
            f"SELECT id FROM audit_contents WHERE {_WORDS} @@ CAST(CAST(:blocks AS text) AS"  # noqa: S608
            f" tsquery){filters} AND id + 0 >= :low AND id + 0 < :high"
        )
        values = {f"all_{n}": values[f"all_{n}"] for n in frequent}
        asked = _Question(rows, rows, values, " & ".join(query))
        return self._older(found, oldest, end, asked)

    def with_statuses(self, statuses: tuple[int, ...]) -> list[int]:
        """Ids of records with one of the statuses, each from its own place in their index."""
        query = (
            "SELECT newest.id FROM unnest(CAST(:statuses AS integer[])) AS one(status)"
            " CROSS JOIN LATERAL (SELECT id FROM audit_records AS r WHERE r.status = one.status"
            " AND id >= :low AND id < :high ORDER BY id DESC LIMIT :limit) AS newest"
            " ORDER BY newest.id DESC LIMIT :limit"
        )
        values = {"statuses": [*statuses], "low": self.low, "high": self.high, "limit": self.limit}
        return [row[0] for row in self.connection.execute(text(query), values)]

    def _walk(
        self,
        table: str,
        newest: str,
        walked: int,
        values: dict[str, Any],
        counts: Sequence[str] = (),
    ) -> Any:
        """Ids among the newest rows, the id of the last row or None where no more follow, the
        lowest id of the table, and the counts."""
        # else it plans for unknown values after five searches
        self.connection.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))
        more = "".join(f", (SELECT {count} FROM newest)" for count in counts)  # noqa: S608
        query = (
            f"WITH newest AS MATERIALIZED ({newest}) SELECT"  # noqa: S608
            " ARRAY(SELECT id FROM newest WHERE hit ORDER BY id DESC LIMIT :limit),"
            " (SELECT CASE count(*) WHEN :walked THEN min(id) END FROM newest),"
            f" (SELECT min(id) FROM {table}){more}"
        )
        bounds = {"low": self.low, "high": self.high, "limit": self.limit, "walked": walked}
        return self.connection.execute(text(query), values | bounds).one()

    def _older(
        self, found: list[int], oldest: int | None, end: int | None, asked: _Question
    ) -> list[int]:
        """`found`, and what is older than `end`."""
        if len(found) >= self.limit or end is None:
            return found
        self.connection.execute(_ONLY_INVERTED)
        for level, numbers in groups_of(max(self.low, oldest or 0), end):
            found += self._within(asked, level, numbers, end, self.limit - len(found))
            if len(found) >= self.limit:
                break
        return found

    def _within(
        self, asked: _Question, level: int, numbers: range, end: int, limit: int
    ) -> list[int]:
        """Ids in blocks that follow each other."""
        # the rows of a smallest block are few enough to be sorted all
        most = None if level == 0 and len(numbers) == 1 else _MOST
        rows_of = asked.large if level >= _LARGE and len(numbers) > 1 else asked.rows
        query = (
            f"SELECT id, count(*) OVER () FROM ({rows_of} LIMIT CAST(:most AS bigint))"  # noqa: S608
            " AS matching ORDER BY id DESC LIMIT :limit"
        )
        values = {"blocks": asked.blocks(level, numbers), "most": most, "limit": limit}
        bounds = {"low": self.low, "high": end}
        rows = self.connection.execute(text(query), asked.values | values | bounds).all()
        if most is None or not rows or rows[0][1] < most:
            return [row[0] for row in rows]
        if len(numbers) == 1:
            level, numbers = level - 1, parts_of(level, numbers[0])
        found: list[int] = []
        for number in reversed(numbers):
            part = range(number, number + 1)
            found += self._within(asked, level, part, end, limit - len(found))
            if len(found) >= limit:
                break
        return found


def _has(name: str) -> str:
    """Whether a row has a word; cheaper than to make a tsvector of them."""
    return f"strpos(' ' || words || ' ', :{name}) > 0"


def _spaced(word: str) -> str:
    return f" {word[:-1]}" if word.endswith("*") else f" {word} "


def _lexeme(word: str) -> str:
    # words have no quotes in them
    return f"'{word[:-1]}':*" if word.endswith("*") else f"'{word}'"
