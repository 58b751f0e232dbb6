"""Batches in the database. Everybody sees only their own; one that has finished never changes."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, and_, func, insert, select, update

from frontend.domain.batches import FINISHED, Batch, LineError
from frontend.store.database import Database
from frontend.store.tables import batches

_COLUMNS = ("id", "owner", "status", "input")


class BatchStore:
    """Every gateway process on the same database sees the same batches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, batch: Batch) -> None:
        """Keeps a new batch."""
        async with self._database.begin() as connection:
            row = {"id": batch.id, "owner_id": batch.owner, **_values(batch)}
            await connection.execute(insert(batches).values(row))

    async def save(self, batch: Batch, expected: str) -> bool:
        """Changes a batch that has the status `expected`. Whether it had."""
        where = and_(batches.c.id == batch.id, batches.c.status == expected)
        async with self._database.begin() as connection:
            changed = await connection.execute(update(batches).where(where).values(_values(batch)))
        return changed.rowcount > 0

    async def get(self, owner: str, batch_id: str) -> Batch | None:
        """None where there is none, or it belongs to somebody else."""
        query = select(batches).where(batches.c.owner_id == owner, batches.c.id == batch_id)
        async with self._database.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _batch(row)

    async def list(self, owner: str, after: str | None, limit: int) -> list[Batch]:
        """Up to `limit` batches, the newest first, beyond the batch `after`."""
        query = select(batches).where(batches.c.owner_id == owner)
        if after is not None:
            query = query.where(batches.c.id < after)
        async with self._database.connect() as connection:
            found = await connection.execute(query.order_by(batches.c.id.desc()).limit(limit))
            return [_batch(row) for row in found]

    async def unfinished(self) -> Sequence[Batch]:
        """The batches of all owners that have work left, the oldest first."""
        query = select(batches).where(batches.c.status.not_in(FINISHED)).order_by(batches.c.id)
        async with self._database.connect() as connection:
            return [_batch(row) for row in await connection.execute(query)]

    async def count_unfinished(self, owner: str) -> int:
        """How many batches of an owner have work left."""
        query = select(func.count()).where(
            batches.c.owner_id == owner, batches.c.status.not_in(FINISHED)
        )
        async with self._database.connect() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def status(self, batch_id: str) -> str:
        """The status now, which another process may have changed."""
        query = select(batches.c.status).where(batches.c.id == batch_id)
        async with self._database.connect() as connection:
            return str((await connection.execute(query)).scalar_one())

    async def user_of(self, file_id: str) -> str | None:
        """The id of a batch that still reads this file."""
        query = select(batches.c.id).where(
            batches.c.input_id == file_id, batches.c.status.not_in(FINISHED)
        )
        async with self._database.connect() as connection:
            found: str | None = (await connection.execute(query.limit(1))).scalar_one_or_none()
            return found


def _values(batch: Batch) -> dict[str, Any]:
    document = {name: value for name, value in asdict(batch).items() if name not in _COLUMNS}
    return {"status": batch.status, "input_id": batch.input, "document": document}


def _batch(row: Row[Any]) -> Batch:
    document = dict(row.document)
    problems = tuple(LineError(**one) for one in document.pop("problems"))
    return Batch(
        id=row.id, owner=row.owner_id, status=row.status, input=row.input_id, problems=problems,
        **document,
    )  # fmt: skip
