"""Rows of one table as objects: find, page, insert, update, delete. Deleted rows stay, and are not
found any more.

A page is a range of the primary key, so that the last page costs as much as the first one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Table, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from frontend.errors import Conflict

T = TypeVar("T")
Rows = AsyncConnection
"""A transaction, to those who only hand it on."""


@dataclass(frozen=True, slots=True)
class Range:
    """A page: at most `limit` rows whose key follows `after`."""

    limit: int
    after: str = ""


class Records(Generic[T]):
    """The rows of `table`; `kind` is a dataclass whose fields are columns of it."""

    def __init__(self, table: Table, kind: type[T], noun: str) -> None:
        self.table = table
        self._kind = kind
        self._noun = noun
        self._columns = [table.c[field.name] for field in fields(kind)]  # type: ignore[arg-type]
        self._id: ColumnElement[str] = next(iter(table.primary_key.columns))

    async def find(
        self, connection: AsyncConnection, key: str, *, locked: bool = False, **equal: object
    ) -> T | None:
        """The row with this key. `locked`: other transactions cannot change it until the end."""
        if not key.isprintable():  # PostgreSQL refuses texts that contain a zero byte
            return None
        query = select(*self._columns).where(self._id == key, *self._are(equal))
        rows = await connection.execute(query.with_for_update() if locked else query)
        row = rows.one_or_none()
        return None if row is None else self._kind(*row)

    async def find_by(self, connection: AsyncConnection, **equal: object) -> T | None:
        """The first row with these values."""
        rows = await self.page(connection, Range(1), **equal)
        return rows[0] if rows else None

    async def page(self, connection: AsyncConnection, range_: Range, **equal: object) -> list[T]:
        """Rows with these values, in the order of their keys."""
        query = select(*self._columns).where(self._id > range_.after, *self._are(equal))
        rows = await connection.execute(query.order_by(self._id).limit(range_.limit))
        return [self._kind(*row) for row in rows]

    async def insert(self, connection: AsyncConnection, **values: Any) -> None:
        """Raises Conflict where a row with the same unique values exists."""
        await self._execute(connection, self.table.insert().values(values), values)

    async def update(self, connection: AsyncConnection, key: str, **values: Any) -> None:
        """Raises Conflict as `insert` does."""
        if values:
            change = self.table.update().where(self._id == key).values(values)
            await self._execute(connection, change, values)

    async def delete(self, connection: AsyncConnection, keys: Sequence[str], now_us: int) -> None:
        """Marks rows as deleted."""
        query = self.table.update().where(self._id.in_(keys), self.table.c.deleted_at_us.is_(None))
        await connection.execute(query.values(deleted_at_us=now_us))

    async def ids(self, connection: AsyncConnection, **equal: object) -> list[str]:
        """The keys of all rows with these values."""
        rows = await connection.execute(select(self._id).where(*self._are(equal)))
        return [str(row[0]) for row in rows]

    def _are(self, equal: dict[str, object]) -> list[ColumnElement[bool]]:
        conditions = [self.table.c[name] == value for name, value in equal.items()]
        if "deleted_at_us" in self.table.c:
            conditions.append(self.table.c.deleted_at_us.is_(None))
        return conditions

    async def _execute(
        self, connection: AsyncConnection, statement: Any, values: dict[str, Any]
    ) -> None:
        try:
            await connection.execute(statement)
        except IntegrityError as error:
            raise self._conflict(error, values) from None

    def _conflict(self, error: IntegrityError, values: dict[str, Any]) -> Conflict:
        """Which value exists already: drivers name the index or the column."""
        text = str(error.orig)
        # SQLite names the column (`users.name`), PostgreSQL the index (`uq_users_name`)
        for name in ("email", "name"):
            if values.get(name) is not None and (f".{name}" in text or f"_{name}" in text):
                shown = str(values[name])[:100]
                problem = f"a {self._noun} with the {name} '{shown}' exists already"
                return Conflict(problem, param=name)
        return Conflict(f"the {self._noun} is in conflict with another one")
