"""The database: SQLite in a file, or PostgreSQL, through one small interface.

`begin` is a transaction that writes, `connect` one that reads. A writer of SQLite takes the file's
write lock at its start, so it never fails halfway because another process wrote meanwhile; the
writers of one process queue in the order in which they came. It does not know the tables.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from sqlite3 import OperationalError
from time import monotonic
from typing import Any

from asyncpg import InterfaceError as DriverError
from asyncpg import PostgresError
from sqlalchemy import Connection, event
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from frontend.errors import InvalidRequest, StoreUnavailable
from frontend.store import sqlite
from frontend.store.location import Location

_BUSY_S = 10.0
"""How long a SQLite writer waits for another process, and anyone for a connection."""
_AGAIN_S = 0.01
_STATEMENT_S = 60.0
_NO_TEXT = ("22021", "22P05")
"""SQLSTATEs of characters that PostgreSQL's text cannot hold; in UTF-8 that is U+0000."""
_MISTAKES = ("21", "22", "23", "42")
"""Classes of SQLSTATEs for a statement that is wrong or breaks a rule of the tables."""
_MISTAKE_ERRORS = (IntegrityError, ProgrammingError, DataError)
_ERRORS = (ConnectionError, TimeoutError, PoolTimeout, DBAPIError, PostgresError, DriverError)
_SQLITE = (
    "PRAGMA synchronous=NORMAL",  # with WAL: an end of the power may undo the last commits
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={int(_BUSY_S * 1000)}",
)
_WRITES = {"gateway_writes": True}


class Database:
    """Connections to one database. Opens none before the first use."""

    def __init__(
        self,
        location: Location,
        connections: int = 10,
        *,
        statement_s: float | None = _STATEMENT_S,
    ) -> None:
        """`connections`: at most as many at a time to PostgreSQL, whose statements may each take
        `statement_s`; None: any time."""
        self.location = location
        self._engine = _engine(location, connections, statement_s)
        # without it, writers of one process would poll for SQLite's lock, up to 100 ms at a time
        self._turn = asyncio.Lock() if location.is_sqlite else None

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes; it is committed at the end, or rolled back on an exception.

        Raises StoreUnavailable while the database cannot be reached.
        """
        async with AsyncExitStack() as stack:
            if self._turn is not None:
                await stack.enter_async_context(self._turn)
            yield await stack.enter_async_context(self._transaction(_WRITES))

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads. Raises StoreUnavailable as `begin` does."""
        async with self._transaction({}) as connection:
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """As `connect`, but every statement sees the same moment, as it always does in SQLite."""
        options = {} if self.location.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        async with self._transaction(options) as connection:
            yield connection

    async def close(self) -> None:
        """Closes the connections that are not in use."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(self, options: dict[str, Any]) -> AsyncIterator[AsyncConnection]:
        try:
            async with AsyncExitStack() as stack:
                connection = await self._connected(stack)
                if options:
                    await connection.execution_options(**options)
                await stack.enter_async_context(connection.begin())
                yield connection
        except _ERRORS as error:
            if _state(error) in _NO_TEXT:
                raise InvalidRequest("the character U+0000 is not allowed in a text") from error
            # a wrong statement is a fault of the gateway, and not an outage that will pass
            if _is_mistake(error):
                raise
            raise StoreUnavailable(f"{self.location}: {_reason(error)}") from error

    async def _connected(self, stack: AsyncExitStack) -> AsyncConnection:
        try:
            return await stack.enter_async_context(self._engine.connect())
        except OSError as error:  # a name that is not known, a socket that is not there
            raise StoreUnavailable(f"{self.location}: {_reason(error)}") from error


def _engine(location: Location, connections: int, statement_s: float | None) -> AsyncEngine:
    if not location.is_sqlite:
        engine = create_async_engine(
            location.url,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=_BUSY_S,
            connect_args={"timeout": _BUSY_S, "command_timeout": statement_s},
        )
        event.listen(engine.sync_engine, "checkout", _is_open)
        return engine
    engine = create_async_engine(
        location.url,
        pool_size=4,
        max_overflow=0,
        pool_timeout=_BUSY_S,
        connect_args={"async_creator_fn": sqlite.connect},
    )
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # otherwise the driver begins transactions when it likes
    cursor = connection.cursor()
    for pragma in _SQLITE:
        cursor.execute(pragma)
    _use_wal(cursor)
    cursor.close()


def _use_wal(cursor: Any) -> None:
    """SQLite does not wait here for others that open the same new file, whatever its timeout is."""
    end = monotonic() + _BUSY_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except OperationalError:
            if monotonic() > end:
                raise
            await_only(asyncio.sleep(_AGAIN_S))
        else:
            return


def _is_open(connection: Any, _: object, __: object) -> None:
    """Lets the pool replace a connection that the server has ended; costs no round trip."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("gateway_writes")
    # a deferred transaction that writes after it has read fails if another process wrote between
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _state(error: BaseException) -> str:
    """PostgreSQL's SQLSTATE, https://www.postgresql.org/docs/15/errcodes-appendix.html, or ''."""
    return getattr(getattr(error, "orig", error), "sqlstate", None) or ""


def _is_mistake(error: BaseException) -> bool:
    if isinstance(error, InterfaceError | DriverError):
        # of a driver that was used wrongly, as with a value of another type; or of a connection
        # that is gone, which only the driver knows
        return not getattr(error, "connection_invalidated", False) and "closed" not in str(error)
    return _state(error)[:2] in _MISTAKES or isinstance(error, _MISTAKE_ERRORS)


def _reason(error: BaseException) -> str:
    """The driver's text, without the statement and its values."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(cause).splitlines()[0][:200] if str(cause) else type(error).__name__


def make_file(location: Location) -> None:
    """Creates an SQLite file, and its folder, that only this user can read. Raises OSError if they
    cannot be created."""
    location.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(location.file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
