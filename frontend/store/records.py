"""Rows of one table as objects: find, page, insert, update, delete. Deleted rows stay, and are not
found any more.

A page is a range of the primary key, so that the last page costs as much as the first one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Table, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from frontend.errors import Conflict

T = TypeVar("T")
JOURNAL = "gateway_journal"
"""The option of a connection whose value is a list: every row that changes is noted in it."""
Rows = AsyncConnection
"""A transaction, to those who only hand it on."""


@dataclass(frozen=True, slots=True)
class Range:
    """A page: at most `limit` rows whose key follows `after`, in the order of their keys, or from
    the last one back. `text`: one of the searched columns contains it; `ids`: only these keys."""

    limit: int
    after: str = ""
    text: str = ""
    ids: tuple[str, ...] = ()
    newest: bool = False


class Records(Generic[T]):
    """The rows of `table`; `kind` is a dataclass whose fields are columns of it, `searched` the
    columns that a page's text is looked for in."""

    def __init__(
        self, table: Table, kind: type[T], noun: str, searched: tuple[str, ...] = ("name",)
    ) -> None:
        self.table = table
        self._searched = searched
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
        query = select(*self._columns).where(*self._are(equal), *self._within(range_))
        order = self._id.desc() if range_.newest else self._id
        rows = await connection.execute(query.order_by(order).limit(range_.limit))
        return [self._kind(*row) for row in rows]

    def _within(self, range_: Range) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = []
        if range_.after or not range_.newest:
            after = range_.after
            conditions.append(self._id < after if range_.newest else self._id > after)
        if range_.ids:
            conditions.append(self._id.in_(range_.ids))
        if range_.text:
            searched = [self._id, *(self.table.c[name] for name in self._searched)]
            columns = [func.lower(column) for column in searched]
            text = range_.text.lower()
            conditions.append(or_(*(one.contains(text, autoescape=True) for one in columns)))
        return conditions

    async def insert(self, connection: AsyncConnection, **values: Any) -> None:
        """Raises Conflict where a row with the same unique values exists."""
        await self._execute(connection, self.table.insert().values(values), values)
        await self._note(connection, {}, [str(values[str(self._id.key)])])

    async def update(self, connection: AsyncConnection, key: str, **values: Any) -> None:
        """Raises Conflict as `insert` does."""
        if values:
            change = self.table.update().where(self._id == key).values(values)
            before = await self._stored(connection, [key])
            await self._execute(connection, change, values)
            await self._note(connection, before, [key])

    async def delete(self, connection: AsyncConnection, keys: Sequence[str], now_us: int) -> None:
        """Marks rows as deleted."""
        for key, row in (await self._stored(connection, keys)).items():
            _journal(connection).append((self._noun, key, row, None))
        query = self.table.update().where(self._id.in_(keys), self.table.c.deleted_at_us.is_(None))
        await connection.execute(query.values(deleted_at_us=now_us))

    async def ids(self, connection: AsyncConnection, **equal: object) -> list[str]:
        """The keys of all rows with these values."""
        rows = await connection.execute(select(self._id).where(*self._are(equal)))
        return [str(row[0]) for row in rows]

    async def note_removal(self, connection: AsyncConnection, key: str) -> None:
        """Notes that a row is about to be removed permanently."""
        for row in (await self._stored(connection, [key])).values():
            _journal(connection).append((self._noun, key, row, None))

    async def _stored(
        self, connection: AsyncConnection, keys: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        """The rows as they are, by their keys; nothing where no journal is kept."""
        if not keys or _journal(connection) is None:
            return {}
        rows = await connection.execute(select(*self._columns).where(self._id.in_(keys)))
        # SQLAlchemy's names are not quite str, as orjson wants them
        names = [str(column.key) for column in self._columns]
        return {
            str(row._mapping[str(self._id.key)]): dict(zip(names, row, strict=True)) for row in rows
        }

    async def _note(
        self, connection: AsyncConnection, before: dict[str, dict[str, Any]], keys: Sequence[str]
    ) -> None:
        for key, row in (await self._stored(connection, keys)).items():
            _journal(connection).append((self._noun, key, before.get(key), row))

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
        """Which value already exists: drivers name the index or the column."""
        text = str(error.orig)
        # SQLite names the column (`users.name`), PostgreSQL the index (`uq_users_name`)
        for name in ("email", "name"):
            if values.get(name) is not None and (f".{name}" in text or f"_{name}" in text):
                shown = str(values[name])[:100]
                article = "an" if self._noun[0] in "aeio" else "a"
                problem = f"{article} {self._noun} with the {name} '{shown}' already exists"
                return Conflict(problem, param=name)
        return Conflict(f"the {self._noun} conflicts with another one")


def _journal(connection: AsyncConnection) -> Any:
    return connection.sync_connection.get_execution_options().get(JOURNAL)  # type: ignore[union-attr]
