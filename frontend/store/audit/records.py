"""Records of requests: added in batches, read, and removed when they have expired.

It does not know policies. A batch that is added again changes nothing.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from functools import cache
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, bindparam, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from frontend.domain.audit import AuditContent, AuditRecord
from frontend.store.audit.search import COLUMNS, AuditFilter, search
from frontend.store.database import Database
from frontend.store.tables import audit_artifacts, audit_contents, audit_records, groups, users

Entry = tuple[AuditRecord, AuditContent | None]


@dataclass(frozen=True, slots=True)
class Removed:
    """The records that a purge has removed, the oldest one first."""

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
            return await connection.run_sync(search, chosen, before, limit)

    async def get(self, record_id: int) -> AuditRecord | None:
        """One record."""
        query = select(*COLUMNS).where(audit_records.c.id == record_id)
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

    async def known(self, request_ids: Sequence[str]) -> set[str]:
        """Those of the requests that have a record."""
        column = audit_records.c.request_id
        query = select(column).where(column.in_(request_ids))
        async with self.database.connect() as connection:
            return {row[0] for row in await connection.execute(query)}

    async def names(self, user_ids: Collection[str]) -> dict[str, str]:
        """The names of users by their ids."""
        query = select(users.c.id, users.c.name).where(users.c.id.in_(user_ids))
        async with self.database.connect() as connection:
            return {row[0]: row[1] for row in await connection.execute(query)}

    async def policies(self, group_ids: Collection[str]) -> dict[str, str | None]:
        """The groups' policies of what is kept of requests; None: the settings apply."""
        query = select(groups.c.id, groups.c.audit).where(groups.c.id.in_(group_ids))
        async with self.database.connect() as connection:
            return {row[0]: row[1] for row in await connection.execute(query)}

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

    async def remove(
        self, group_id: str, before: int, most: int, note: Callable[[Removed], None] | None = None
    ) -> Removed:
        """Removes up to `most` records of a group that are older than the id `before`. `note` runs
        in a thread before the transaction is committed; what it raises undoes the removal."""
        async with self.database.begin() as connection:
            removed = await _remove(connection, group_id, before, most)
            if removed.records and note is not None:
                await asyncio.to_thread(note, removed)
            return removed

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
    def put(table: Any, rows: list[dict[str, Any]]) -> None:
        if rows:
            connection.execute(_addition(connection.dialect.name, table), rows)

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


@cache
def _addition(dialect: str, table: Any) -> Any:
    """Made once: for a few rows, that costs more than to execute it."""
    insert: Any = sqlite.insert if dialect == "sqlite" else postgresql.insert
    # an attempt before may have been committed although its connection was lost
    return insert(table).on_conflict_do_nothing()


_NAMES = tuple(field.name for field in fields(AuditRecord))
_values = attrgetter(*_NAMES)


def _row(record: AuditRecord) -> dict[str, Any]:
    return dict(zip(_NAMES, _values(record), strict=True))


async def _remove(connection: AsyncConnection, group_id: str, before: int, most: int) -> Removed:
    if connection.dialect.name == "sqlite":
        # what is deleted is overwritten with zeros, or it could be read from the file for weeks
        await connection.execute(text("PRAGMA secure_delete = ON"))
    columns = audit_records.c
    query = select(*COLUMNS).where(columns.group_id == group_id, columns.id < before)
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
