"""SQLite's driver, with one visit to a connection's thread for each statement.

aiosqlite visits the thread of a connection four times for a SELECT: for the cursor, to execute, for
the rows, and to close it. A visit costs about 50 us of CPU, more than most statements. Here a
cursor is made, used, read and closed in one visit, unless it has many rows. It does not know the
tables.
"""

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

_READ_AHEAD = 1000
"""Rows that are read with the statement; the rest of a longer result takes further visits."""
T = TypeVar("T")


class Connection(aiosqlite.Connection):
    """A connection whose cursors are brief."""

    visits = 0
    _ended = 0

    def cursor(self) -> "Cursor":  # type: ignore[override]
        """A cursor. Costs nothing before it executes something."""
        return Cursor(self)

    async def visit(self, function: Callable[[], T]) -> T:
        """Runs a function in the thread of the connection."""

        def run() -> T:
            try:
                return function()
            finally:
                self._ended += 1

        self.visits += 1
        result: T = await self._execute(run)  # type: ignore[no-untyped-call]
        return result

    async def commit(self) -> None:
        """Commits, if there is a transaction."""
        if self._has_transaction:
            await self.visit(self._conn.commit)

    async def rollback(self) -> None:
        """Rolls back, if there is a transaction."""
        if self._has_transaction:
            await self.visit(self._conn.rollback)

    @property
    def _has_transaction(self) -> bool:
        # the caller of a statement may have been cancelled while the thread still runs it
        return self.visits != self._ended or self._conn.in_transaction


class Cursor:
    """What SQLAlchemy uses of a cursor."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open: sqlite3.Cursor | None = None
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> "Cursor":
        return self

    async def execute(self, statement: str, values: Iterable[Any] = ()) -> "Cursor":
        """Executes a statement, and reads its rows."""
        await self._connection.visit(lambda: self._run(statement, values, many=False))
        return self

    async def executemany(self, statement: str, values: Iterable[Iterable[Any]]) -> "Cursor":
        """Executes a statement for several rows of values."""
        await self._connection.visit(lambda: self._run(statement, values, many=True))
        return self

    async def fetchall(self) -> list[Any]:
        """The rows that were not read yet."""
        rows, self._rows = self._rows, []
        if self._open is not None:
            rows += await self._connection.visit(self._open.fetchall)
            await self.close()
        return rows

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        """The next rows."""
        count = self.arraysize if size is None else size
        if self._open is not None and len(self._rows) < count:
            source = self._open
            self._rows += await self._connection.visit(lambda: source.fetchmany(count))
        rows, self._rows = self._rows[:count], self._rows[count:]
        return rows

    async def fetchone(self) -> Any:
        """The next row, or None."""
        rows = await self.fetchmany(1)
        return rows[0] if rows else None

    async def close(self) -> None:
        """Frees a result that was not read to its end."""
        self._rows = []
        if self._open is not None:
            source, self._open = self._open, None
            await self._connection.visit(source.close)

    def _run(self, statement: str, values: Iterable[Any], *, many: bool) -> None:
        cursor = self._connection._conn.cursor()
        is_open = False
        try:
            (cursor.executemany if many else cursor.execute)(statement, values)  # type: ignore[arg-type]
            if cursor.description is not None:
                self._rows = cursor.fetchmany(_READ_AHEAD)
            # of RETURNING, only after the rows
            self.description, self.rowcount = cursor.description, cursor.rowcount
            self.lastrowid = cursor.lastrowid
            if is_open := len(self._rows) == _READ_AHEAD:
                self._open = cursor
        finally:
            if not is_open:
                cursor.close()


def connect(path: str | Path, **options: Any) -> Connection:
    """A connection, to be awaited. The options are those of `sqlite3.connect`."""
    connection = Connection(lambda: sqlite3.connect(path, **options), iter_chunk_size=64)
    # as SQLAlchemy sets it: a gateway must not wait for it at its end
    connection._thread.daemon = True
    return connection
