"""Which records a search shows, on SQLite and PostgreSQL.

It first finds ids in the one index that has all of the filters, and reads rows only for the ids of
the page, so it costs the same whichever page it is. Names in a statement are constants of this
module; values are bound.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from sqlalchemy import Connection, select, text

from frontend.domain.audit import AuditRecord
from frontend.store.audit.ids import first_id
from frontend.store.audit.postgres import Newest
from frontend.store.audit.words import facet
from frontend.store.tables import audit_records

_PROBED = 20_000
"""Rows that are counted to compare two filters: about 2 ms."""
_NEWEST = 100
"""Texts that are read to know whether words often begin so; a twentieth of them is often."""
_FREQUENT = 0.05
_BEGINS = "instr(' ' || words || ' ', :begin_{}) > 0"
COLUMNS = [audit_records.c[field.name] for field in fields(AuditRecord)]
_INDEXES = {
    "user_id": "ix_audit_records_user",
    "group_id": "ix_audit_records_group",
    "model": "ix_audit_records_model",
    "status": "ix_audit_records_status",
}


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which records. `start_us` is inclusive, `end_us` is not; `statuses` of (): any.

    `words` must all be in the text of a record whose policy is `full`.
    """

    start_us: int
    end_us: int
    user_id: str | None = None
    group_id: str | None = None
    model: str | None = None
    statuses: tuple[int, ...] = ()
    request_id: str | None = None
    words: tuple[str, ...] = ()


def search(
    connection: Connection, chosen: AuditFilter, before: int | None, limit: int
) -> list[AuditRecord]:
    """Up to `limit` records, the newest first, older than the id `before`."""
    low, high = first_id(chosen.start_us), first_id(chosen.end_us)
    high = high if before is None else min(high, before)
    if chosen.request_id is not None:
        ids = _with_request_id(connection, chosen, low, high, limit)
    elif chosen.words:
        ids = _with_words(connection, chosen, low, high, limit)
    else:
        ids = _with_filters(connection, chosen, low, high, limit)
    if not ids:
        return []
    query = select(*COLUMNS).where(audit_records.c.id.in_(ids))
    rows = connection.execute(query.order_by(audit_records.c.id.desc()))
    return [AuditRecord(*row) for row in rows]


def _with_filters(
    connection: Connection, chosen: AuditFilter, low: int, high: int, limit: int
) -> list[int]:
    equal = {
        name: value
        for name, value in (
            ("user_id", chosen.user_id), ("group_id", chosen.group_id), ("model", chosen.model),
        )
        if value is not None
    }  # fmt: skip
    if connection.dialect.name != "sqlite" and len(equal) + bool(chosen.statuses) > 1:
        return Newest(connection, low, high, limit).with_filters(equal, chosen.statuses)
    if connection.dialect.name != "sqlite" and chosen.statuses:
        return Newest(connection, low, high, limit).with_statuses(chosen.statuses)
    leads: list[tuple[str, object]] = [*equal.items()]
    if chosen.statuses:
        leads.append(("status", chosen.statuses))
    lead = _fewest(connection, leads, low, high) if len(leads) > 1 else [n for n, _ in leads]
    column = lead[0] if lead else ""
    if column == "status" or not chosen.statuses:
        alternatives: list[dict[str, Any]] = [{**equal, "status": s} for s in chosen.statuses]
        alternatives = alternatives or [{**equal}]
        ids = [_ids(connection, column, one, low, high, limit) for one in alternatives]
        return sorted((one for part in ids for one in part), reverse=True)[:limit]
    where = {**equal, "statuses": chosen.statuses}
    return _ids(connection, column, where, low, high, limit)


def _fewest(
    connection: Connection, leads: Iterable[tuple[str, object]], low: int, high: int
) -> list[str]:
    """The names of the filters, that with the fewest rows first; the order decides a tie."""
    counted = []
    for number, (name, value) in enumerate(leads):
        values = value if isinstance(value, tuple) else (value,)
        found = 0
        for one in values:
            query = (
                f"SELECT count(*) FROM (SELECT 1 FROM audit_records{_index(connection, name)}"  # noqa: S608
                f" WHERE {name} = :value AND id >= :low AND id < :high LIMIT {_PROBED}) AS few"
            )
            row = connection.execute(text(query), {"value": one, "low": low, "high": high}).one()
            found += row[0]
            if found >= _PROBED:
                break
        counted.append((min(found, _PROBED), number, name))
    return [name for _, _, name in sorted(counted)]


def _index(connection: Connection, column: str) -> str:
    """SQLite needs the name of the index, since it keeps no statistics as PostgreSQL does."""
    if connection.dialect.name != "sqlite" or not column:
        return ""
    return f" INDEXED BY {_INDEXES[column]}"


def _ids(
    connection: Connection, lead: str, where: dict[str, Any], low: int, high: int, limit: int
) -> list[int]:
    values = {"low": low, "high": high, "limit": limit}
    conditions = ["id >= :low", "id < :high"]
    for name, value in where.items():
        if name == "statuses":
            conditions.append(f"status IN ({', '.join(str(int(one)) for one in value)})")
        else:
            conditions.append(f"{name} = :{name}")
            values[name] = value
    query = (
        f"SELECT id FROM audit_records{_index(connection, lead)}"  # noqa: S608
        f" WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT :limit"
    )
    return [row[0] for row in connection.execute(text(query), values)]


def _with_request_id(
    connection: Connection, chosen: AuditFilter, low: int, high: int, limit: int
) -> list[int]:
    """Ids of records of a request, by the gateway's own id or by the client's."""
    columns = audit_records.c
    # an answer has the client's id where there is one; its index has no other records
    named = (columns.request_id == chosen.request_id,), (
        columns.client_id == chosen.request_id, columns.client_id != text("''"),
    )  # fmt: skip
    # clients may repeat an id, but not so often that each of its records could not be asked for
    most = 1000 if chosen.words else limit
    ids: set[int] = set()
    for conditions in named:
        query = select(columns.id).where(*conditions, columns.id >= low, columns.id < high)
        for name in ("user_id", "group_id", "model"):
            if (value := getattr(chosen, name)) is not None:
                query = query.where(columns[name] == value)
        if chosen.statuses:
            query = query.where(columns.status.in_(chosen.statuses))
        query = query.order_by(columns.id.desc()).limit(most)
        ids.update(row[0] for row in connection.execute(query))
    newest = sorted(ids, reverse=True)
    if not chosen.words:
        return newest[:limit]
    plain = replace(chosen, request_id=None)
    return [one for one in newest if _with_words(connection, plain, one, one + 1, 1)][:limit]


def _with_words(
    connection: Connection, chosen: AuditFilter, low: int, high: int, limit: int
) -> list[int]:
    facets = [
        facet(letter, value)
        for letter, value in (("u", chosen.user_id), ("g", chosen.group_id), ("m", chosen.model))
        if value is not None
    ]
    statuses = [facet("s", str(one)) for one in chosen.statuses]
    words = (*chosen.words, *facets)
    if connection.dialect.name != "sqlite":
        return Newest(connection, low, high, limit).with_words(words, statuses)
    return _in_fts(connection, words, statuses, {"low": low, "high": high, "limit": limit})


def _in_fts(
    connection: Connection, words: Iterable[str], statuses: list[str], bounds: dict[str, int]
) -> list[int]:
    """Ids from SQLite's index of words. The frequent beginnings of words are looked for in the
    texts that have the others, since the index would merge the rows of each word that begins so."""
    asked = [*words]
    begins = [word for word in asked if _is_frequent(connection, word, bounds)]
    parts = [_fts_word(word) for word in asked if word not in begins]
    if statuses:
        parts.append("(" + " OR ".join(map(_fts_word, statuses)) + ")")
    table, row = ("audit_words", "rowid") if parts else ("audit_contents", "id")
    where = ["audit_words MATCH :match"] if parts else []
    where += [f"{row} >= :low", f"{row} < :high"]
    where += [f"{_BEGINS.format(number)}" for number in range(len(begins))]
    query = (
        f"SELECT {row} FROM {table} WHERE {' AND '.join(where)}"  # noqa: S608
        f" ORDER BY {row} DESC LIMIT :limit"
    )
    values = {"match": " AND ".join(parts)} if parts else {}
    values |= {f"begin_{number}": f" {word[:-1]}" for number, word in enumerate(begins)}
    return [row[0] for row in connection.execute(text(query), values | bounds)]


def _is_frequent(connection: Connection, word: str, bounds: dict[str, int]) -> bool:
    if not word.endswith("*"):
        return False
    query = (
        "SELECT count(*) FROM (SELECT words FROM audit_contents WHERE id >= :low AND id < :high"  # noqa: S608
        f" ORDER BY id DESC LIMIT {_NEWEST}) WHERE {_BEGINS.format(0)}"
    )
    values = {"begin_0": f" {word[:-1]}", "low": bounds["low"], "high": bounds["high"]}
    return bool(connection.execute(text(query), values).one()[0] >= _NEWEST * _FREQUENT)


def _fts_word(word: str) -> str:
    # quoted, so that a word such as NEAR is not an operator; words have no quotes in them
    return f'"{word[:-1]}"*' if word.endswith("*") else f'"{word}"'
