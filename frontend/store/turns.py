"""Turns that the gateways of one database take at something that only one of them may do.

A turn is a lock of PostgreSQL's or of a file beside SQLite's, and ends with the process that holds
it, however that ends. It is for work that is rare: a process that waits asks five times a second.
"""

import asyncio
import fcntl
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from frontend.errors import StoreUnavailable
from frontend.store.database import Database

_AGAIN_S = 0.2
_log = logging.getLogger(__name__)


@asynccontextmanager
async def turn(database: Database, name: str) -> AsyncIterator[None]:
    """The block runs while no other process has the turn of that name.

    Without the database it runs anyway: what turns are for is better done twice than never.
    """
    held = _file_lock(database, name) if database.location.is_sqlite else _lock(database, name)
    try:
        await held.__aenter__()
    except (StoreUnavailable, OSError) as error:
        _log.warning("continuing without the lock '%s': %s", name, error)
        yield
        return
    try:
        yield
    finally:
        # the lock ended when the connection did
        with suppress(StoreUnavailable):
            await held.__aexit__(None, None, None)


async def take_turn(connection: AsyncConnection, name: str) -> None:
    """Waits until no other transaction that writes has the turn of that name, and keeps it to the
    end of this one. SQLite's writers take turns anyway."""
    if connection.dialect.name == "postgresql":
        await connection.execute(select(func.pg_advisory_xact_lock(_number(name))))


def _lock(database: Database, name: str) -> AbstractAsyncContextManager[None]:
    return _advisory_lock(database, _number(name))


@asynccontextmanager
async def _advisory_lock(database: Database, number: int) -> AsyncIterator[None]:
    # of a transaction and not of a session: a pool before the database may share its sessions
    ask = select(func.pg_try_advisory_xact_lock(number))
    async with database.connect() as connection:
        await _until(lambda: _first(connection, ask))
        yield


@asynccontextmanager
async def _file_lock(database: Database, name: str) -> AsyncIterator[None]:
    file = database.location.file
    path = file.with_name(f"{file.name}.{_digest(name).hex()[:12]}.lock")
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        await _until(lambda: _try_lock(descriptor))
        yield
    finally:
        os.close(descriptor)


async def _until(ask: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await ask():
            return
        await asyncio.sleep(_AGAIN_S)


async def _first(connection: AsyncConnection, ask: Select[tuple[bool]]) -> bool:
    return bool((await connection.execute(ask)).scalar_one())


async def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _number(name: str) -> int:
    return int.from_bytes(_digest(name)[:8], "big", signed=True)


def _digest(name: str) -> bytes:
    return hashlib.sha256(f"turn\0{name}".encode()).digest()
