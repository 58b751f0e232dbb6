"""SQLite's driver: the same results as the usual one, and one visit to the thread a statement."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from frontend.store import sqlite
from frontend.store.database import Database
from frontend.store.location import Location, parse_location


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return parse_location(f"sqlite:///{tmp_path / 'numbers'}")


@asynccontextmanager
async def _numbers(location: Location, count: int) -> AsyncIterator[Database]:
    database = Database(location)
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE numbers (n INTEGER PRIMARY KEY)"))
        rows = [{"n": n} for n in range(count)]
        await connection.execute(text("INSERT INTO numbers VALUES (:n)"), rows)
    yield database
    await database.close()


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2500])
async def test_long_results_are_complete(location: Location, count: int) -> None:
    async with _numbers(location, count) as database, database.connect() as connection:
        query = text("SELECT n FROM numbers ORDER BY n")
        assert [*(await connection.execute(query)).scalars()] == [*range(count)]
        async with connection.stream(query) as rows:
            assert [row.n async for row in rows] == [*range(count)]
        async with connection.stream(query) as rows:  # and one that is not read to its end
            row = await rows.fetchone()
            assert row is not None
            assert row.n == 0


async def test_what_a_statement_changed_is_counted(location: Location) -> None:
    async with _numbers(location, 10) as database, database.begin() as connection:
        gone = await connection.execute(text("DELETE FROM numbers WHERE n < 4"))
        assert gone.rowcount == 4
        back = await connection.execute(text("INSERT INTO numbers VALUES (1), (2) RETURNING n"))
        assert [*back.scalars()] == [1, 2]
        with pytest.raises(IntegrityError):
            await connection.execute(text("INSERT INTO numbers VALUES (9)"))


async def test_a_statement_takes_one_visit(location: Location) -> None:
    async with _numbers(location, 10) as database, database.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        assert isinstance(raw, sqlite.Connection)
        before = raw.visits
        await connection.execute(text("SELECT n FROM numbers"))
        assert raw.visits == before + 1


async def test_a_cancelled_transaction_is_rolled_back(location: Location) -> None:
    async with _numbers(location, 3) as database:
        for turns in range(12):

            async def change() -> None:
                async with database.begin() as connection:
                    await connection.execute(text("DELETE FROM numbers"))
                    await asyncio.Event().wait()

            task = asyncio.create_task(change())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        async with database.begin() as connection:
            count = await connection.scalar(text("SELECT count(*) FROM numbers"))
        assert count == 3
