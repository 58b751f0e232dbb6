"""Records of requests: added in batches, searched page by page, removed when their time is over.

A search first finds ids in the one index that has all of its filters, and reads rows only for the
ids of the page, so it costs the same whichever page it is. It does not know policies.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, bindparam, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from frontend.domain.audit import AuditContent, AuditRecord
from frontend.store.database import Database
from frontend.store.tables import audit_artifacts, audit_contents, audit_records

SLOTS = 4096
MAX_ID = 2**63 - 1
_PROBED = 20_000
"""Rows that are counted to compare two filters: about 2 ms."""
_WORD = re.compile(r"[^\W_]+")
_MAX_WORD = 64
_MAX_WORDS_BYTES = 256 * 1024
"""Of one record: PostgreSQL's tsvector holds 1 MiB."""
_COLUMNS = [audit_records.c[field.name] for field in fields(AuditRecord)]
Entry = tuple[AuditRecord, AuditContent | None]


def first_id(at_us: int) -> int:
    """The lowest id of a moment."""
    return max(0, min(at_us * SLOTS, MAX_ID))


def moment_of(record_id: int) -> int:
    """The moment of a record, in microseconds since 1970."""
    return record_id // SLOTS


def words_of(*texts: str) -> list[str]:
    """The words of texts as they are indexed: in lower case, each once."""
    found: dict[str, None] = {}
    left = _MAX_WORDS_BYTES
    for one in texts:
        for match in _WORD.finditer(one.lower()):
            word = match[0][:_MAX_WORD]
            if word not in found:
                left -= len(word.encode("utf-8", "replace")) + 1
                if left < 0:
                    return [*found]
                found[word] = None
    return [*found]


def facets_of(record: AuditRecord) -> list[str]:
    """Words that stand for what a record can be filtered by; no text has a word with `_`."""
    return [
        _facet("u", record.user_id),
        _facet("g", record.group_id),
        _facet("m", record.model),
        _facet("s", str(record.status)),
    ]


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


@dataclass(frozen=True, slots=True)
class Removed:
    """What a purge has removed, the oldest record first."""

    records: tuple[AuditRecord, ...] = ()
    contents: int = 0
    artifacts: tuple[tuple[str, int], ...] = ()
    """Digests and sizes of files that are not part of any other record."""


class AuditStore:
    """The audit's tables. All methods raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def add(self, entries: Sequence[Entry]) -> None:
        """Adds records that are not there yet, in one transaction."""
        async with self.database.begin() as connection:
            await connection.run_sync(_add, entries)

    async def search(
        self, chosen: AuditFilter, before: int | None, limit: int
    ) -> list[AuditRecord]:
        """Up to `limit` records, the newest first, older than the id `before`."""
        async with self.database.connect() as connection:
            return await connection.run_sync(_search, chosen, before, limit)

    async def get(self, record_id: int) -> AuditRecord | None:
        """One record."""
        query = select(*_COLUMNS).where(audit_records.c.id == record_id)
        async with self.database.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else AuditRecord(*row)

    async def contents(self, ids: Sequence[int]) -> dict[int, AuditContent]:
        """The contents of those of the records that have one."""
        async with self.database.connect() as connection:
            query = select(audit_contents).where(audit_contents.c.id.in_(ids))
            rows = (await connection.execute(query)).all()
            query = select(audit_artifacts).where(audit_artifacts.c.record_id.in_(ids))
            files = (await connection.execute(query.order_by(audit_artifacts.c.digest))).all()
        return {
            row.id: AuditContent(
                row.request,
                row.answer,
                row.words,
                tuple(
                    (file.digest, file.media_type, file.size_bytes)
                    for file in files
                    if file.record_id == row.id
                ),
            )
            for row in rows
        }

    async def owners_of(self, digest: str) -> list[tuple[int, str]]:
        """(record, media type) of everything that refers to an artifact."""
        columns = audit_artifacts.c.record_id, audit_artifacts.c.media_type
        query = select(*columns).where(audit_artifacts.c.digest == digest).limit(1000)
        async with self.database.connect() as connection:
            return [(row[0], row[1]) for row in await connection.execute(query)]

    async def groups(self) -> list[str]:
        """Every group that has a record."""
        found: list[str] = []
        query = select(audit_records.c.group_id).where(audit_records.c.group_id > bindparam("last"))
        query = query.order_by(audit_records.c.group_id).limit(1)
        first = select(audit_records.c.id).where(audit_records.c.group_id == "").limit(1)
        async with self.database.connect() as connection:
            if (await connection.execute(first)).first() is not None:
                found.append("")
            last = ""
            # from one group to the next in the index: a `distinct` would read all of it
            while (row := (await connection.execute(query, {"last": last})).first()) is not None:
                last = row[0]
                found.append(last)
        return found

    async def remove(self, group_id: str, before: int, most: int) -> Removed:
        """Removes up to `most` records of a group that are older than the id `before`."""
        async with self.database.begin() as connection:
            return await _remove(connection, group_id, before, most)

    async def older(self, group_id: str, before: int, most: int) -> list[int]:
        """Ids of up to `most` records of a group that are older than the id `before`."""
        columns = audit_records.c
        query = select(columns.id).where(columns.group_id == group_id, columns.id < before)
        async with self.database.connect() as connection:
            return [row[0] for row in await connection.execute(query.limit(most))]

    async def forget(self) -> None:
        """Has SQLite write its index of words without what was removed."""
        if not self.database.location.is_sqlite:
            return
        async with self.database.begin() as connection:
            await connection.execute(text("PRAGMA secure_delete = ON"))
            # deleted words stay in older parts of the index until those are merged
            optimize = "INSERT INTO audit_words(audit_words) VALUES ('optimize')"
            await connection.execute(text(optimize))


def _add(connection: Connection, entries: Sequence[Entry]) -> None:
    kinds: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    make = kinds[connection.dialect.name]

    def put(table: Any, rows: list[dict[str, Any]]) -> None:
        if rows:
            # an attempt before may have been committed although its connection was lost
            connection.execute(make(table).on_conflict_do_nothing(), rows)

    put(audit_records, [_row(record) for record, _ in entries])
    put(
        audit_contents,
        [
            {"id": r.id, "request": c.request, "answer": c.answer, "words": c.words}
            for r, c in entries
            if c is not None
        ],
    )
    put(
        audit_artifacts,
        [
            {"record_id": r.id, "digest": digest, "media_type": kind, "size_bytes": size}
            for r, c in entries
            if c is not None
            for digest, kind, size in c.artifacts
        ],
    )


def _row(record: AuditRecord) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(AuditRecord)}


def _search(
    connection: Connection, chosen: AuditFilter, before: int | None, limit: int
) -> list[AuditRecord]:
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
    query = select(*_COLUMNS).where(audit_records.c.id.in_(ids))
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


_INDEXES = {
    "user_id": "ix_audit_records_user",
    "group_id": "ix_audit_records_group",
    "model": "ix_audit_records_model",
    "status": "ix_audit_records_status",
}


def _index(connection: Connection, column: str) -> str:
    """SQLite needs the name of the index, since it keeps no statistics as PostgreSQL does."""
    if connection.dialect.name != "sqlite" or not column:
        return ""
    return f" INDEXED BY {_INDEXES[column]}"


def _ids(
    connection: Connection, lead: str, where: dict[str, Any], low: int, high: int, limit: int
) -> list[int]:
    """All names in the statement are constants of this module; values are bound."""
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
    columns = audit_records.c
    query = select(columns.id).where(
        columns.request_id == chosen.request_id, columns.id >= low, columns.id < high
    )
    for name in ("user_id", "group_id", "model"):
        if (value := getattr(chosen, name)) is not None:
            query = query.where(columns[name] == value)
    if chosen.statuses:
        query = query.where(columns.status.in_(chosen.statuses))
    rows = connection.execute(query.order_by(columns.id.desc()).limit(limit))
    return [row[0] for row in rows]


def _with_words(
    connection: Connection, chosen: AuditFilter, low: int, high: int, limit: int
) -> list[int]:
    facets = [
        _facet(letter, value)
        for letter, value in (("u", chosen.user_id), ("g", chosen.group_id), ("m", chosen.model))
        if value is not None
    ]
    statuses = [_facet("s", str(one)) for one in chosen.statuses]
    values = {"low": low, "high": high, "limit": limit}
    if connection.dialect.name == "sqlite":
        parts = [_fts_word(word) for word in (*chosen.words, *facets)]
        if statuses:
            parts.append("(" + " OR ".join(map(_fts_word, statuses)) + ")")
        query = (
            "SELECT rowid FROM audit_words WHERE audit_words MATCH :match"
            " AND rowid >= :low AND rowid < :high ORDER BY rowid DESC LIMIT :limit"
        )
        values["match"] = " AND ".join(parts)  # type: ignore[assignment]
    else:
        parts = [_ts_word(word) for word in (*chosen.words, *facets)]
        if statuses:
            parts.append("(" + " | ".join(map(_ts_word, statuses)) + ")")
        query = (
            "SELECT id FROM audit_contents WHERE array_to_tsvector(string_to_array(words, ' '))"
            " @@ CAST(CAST(:match AS text) AS tsquery) AND id >= :low AND id < :high"
            " ORDER BY id DESC LIMIT :limit"
        )
        values["match"] = " & ".join(parts)  # type: ignore[assignment]
    return [row[0] for row in connection.execute(text(query), values)]


def _fts_word(word: str) -> str:
    # quoted, so that a word such as NEAR is not an operator; words have no quotes in them
    return f'"{word[:-1]}"*' if word.endswith("*") else f'"{word}"'


def _ts_word(word: str) -> str:
    return f"'{word[:-1]}':*" if word.endswith("*") else f"'{word}'"


def _facet(letter: str, value: str) -> str:
    return f"_{letter}{hashlib.sha256(value.encode()).hexdigest()[:12]}"


async def _remove(connection: AsyncConnection, group_id: str, before: int, most: int) -> Removed:
    if connection.dialect.name == "sqlite":
        # what is deleted is overwritten with zeros, or it could be read from the file for weeks
        await connection.execute(text("PRAGMA secure_delete = ON"))
    columns = audit_records.c
    query = select(*_COLUMNS).where(columns.group_id == group_id, columns.id < before)
    rows = (await connection.execute(query.order_by(columns.id).limit(most))).all()
    records = [AuditRecord(*row) for row in rows]
    ids = [record.id for record in records]
    if not ids:
        return Removed()
    files = await connection.execute(
        select(audit_artifacts.c.digest, audit_artifacts.c.size_bytes)
        .where(audit_artifacts.c.record_id.in_(ids))
        .distinct()
    )
    sizes = {row[0]: row[1] for row in files}
    await connection.execute(audit_artifacts.delete().where(audit_artifacts.c.record_id.in_(ids)))
    still = await connection.execute(
        select(audit_artifacts.c.digest).where(audit_artifacts.c.digest.in_([*sizes])).distinct()
    )
    used = {row[0] for row in still}
    contents = await connection.execute(audit_contents.delete().where(audit_contents.c.id.in_(ids)))
    await connection.execute(audit_records.delete().where(columns.id.in_(ids)))
    orphans = tuple((name, size) for name, size in sorted(sizes.items()) if name not in used)
    return Removed(tuple(records), contents.rowcount, orphans)
