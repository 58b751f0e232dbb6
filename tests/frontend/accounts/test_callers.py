"""Callers from the database: cached, current within a second, and still known while it is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from frontend.accounts.callers import STALE_S, Callers
from frontend.accounts.credentials import new_key, new_public_id
from frontend.accounts.directory.actor import OPERATOR
from frontend.errors import StoreUnavailable
from frontend.store.database import Database
from frontend.store.location import Location
from tests.support.accounts import add, find, opened
from tests.support.databases import Databases


class Counted(Database):
    """Counts reads."""

    reads = 0

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        self.reads += 1
        async with super().connect() as connection:
            yield connection


async def test_a_key_is_read_once_until_something_changes(location: Location) -> None:
    database = Counted(location)
    directory, callers = await opened(database), Callers(database)
    _, text = await add(directory, "ada")
    database.reads = 0
    found = await asyncio.gather(*(find(callers, text) for _ in range(50)))
    assert database.reads == 1
    assert len(set(found)) == 1
    await callers.check()
    assert await find(callers, text) is not None
    assert database.reads == 2, "only the number of changes"
    await add(directory, "eve")
    await callers.check()
    assert await find(callers, text) is not None
    assert database.reads == 4
    await database.close()


async def test_made_up_keys_are_read_once_and_do_not_displace_real_ones(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontend.accounts.callers._MAX_ENTRIES", 10)
    database = Counted(location)
    directory, callers = await opened(database), Callers(database)
    _, text = await add(directory, "ada")
    assert await find(callers, text) is not None
    made_up = new_key(new_public_id())
    database.reads = 0
    for _ in range(5):
        assert await find(callers, made_up) is None
    assert database.reads == 1
    for _ in range(30):
        await find(callers, new_key(new_public_id()))
    assert len(callers._unknown) == 10
    database.reads = 0
    assert await find(callers, text) is not None
    assert database.reads == 0
    await database.close()


async def test_another_process_sees_a_change_within_two_seconds(database: Database) -> None:
    directory, callers = await opened(database), Callers(database)
    _, text = await add(directory, "ada")
    async with callers.watching():
        caller = await find(callers, text)
        assert caller is not None
        await directory.keys.delete(OPERATOR, caller.key)
        while await find(callers, text) is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_known_keys_work_for_a_minute_while_the_database_is_away(
    databases: Databases,
) -> None:
    database, now_s = Database(await asyncio.to_thread(databases.postgres)), [0.0]
    directory = await opened(database)
    callers = Callers(database, clock=lambda: now_s[0])
    _, text = await add(directory, "ada")
    _, never_used = await add(directory, "eve")
    assert await find(callers, text) is not None
    await asyncio.to_thread(databases.server.stop)
    try:
        with pytest.raises(StoreUnavailable):
            await callers.check()
        assert await find(callers, text) is not None
        with pytest.raises(StoreUnavailable):
            await find(callers, never_used)
        now_s[0] = STALE_S - 1
        assert await find(callers, text) is not None
        now_s[0] = STALE_S + 1
        with pytest.raises(StoreUnavailable):
            await find(callers, text)
    finally:
        await asyncio.to_thread(databases.server.start)
    assert await find(callers, text) is not None
    await database.close()
