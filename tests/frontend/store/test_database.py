"""Transactions on both databases: rolled back, queued, refused while the database is away."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from frontend.errors import InvalidRequest, StoreUnavailable
from frontend.store.database import Database
from frontend.store.location import at_file, parse_location
from frontend.store.migrate import check
from frontend.store.tables import changes
from tests.support.databases import Databases, server_folder


async def test_a_database_that_does_not_answer_is_unavailable() -> None:
    database = Database(parse_location("postgresql://u:secret@127.0.0.1:1/d"))
    with pytest.raises(StoreUnavailable) as raised:
        await check(database)
    assert "secret" not in raised.value.reason
    assert "127.0.0.1:1" in raised.value.reason


async def test_an_exception_rolls_back(database: Database) -> None:
    async def fail() -> None:
        async with database.begin() as connection:
            await connection.execute(insert(changes).values(topic="a", number=1))
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await fail()
    async with database.connect() as connection:
        assert (await connection.execute(select(changes))).all() == []


async def test_a_character_that_postgresql_cannot_hold_is_a_mistake_of_the_caller(
    database: Database,
) -> None:
    async def read() -> None:
        async with database.connect() as connection:
            await connection.execute(select(changes).where(changes.c.topic == "a\x00"))

    if database.location.is_sqlite:
        await read()
        return
    with pytest.raises(InvalidRequest, match="U\\+0000"):
        await read()


async def test_a_restarted_server_fails_no_transaction(databases: Databases) -> None:
    database = Database(parse_location(databases.server.url("migrated")))
    async with database.connect() as connection:
        process = await connection.execute(text("SELECT pg_backend_pid()"))
        process_id = process.scalar_one()
    other = Database(parse_location(databases.server.url("postgres")))
    async with other.connect() as connection:
        await connection.execute(text(f"SELECT pg_terminate_backend({process_id}, 5000)"))
    await other.close()
    await check(database)
    await database.close()


async def test_writers_queue_and_none_fails(database: Database) -> None:
    other = Database(database.location)  # as another process would have
    async with database.begin() as connection:
        await connection.execute(insert(changes).values(topic="a", number=0))

    async def count(through: Database) -> None:
        async with through.begin() as connection:
            read = select(changes.c.number).with_for_update()
            number = (await connection.execute(read)).scalar_one()
            await connection.execute(changes.update().values(number=number + 1))

    await asyncio.gather(*(count(each) for each in [database, other] * 20))
    async with database.connect() as connection:
        assert (await connection.execute(select(changes.c.number))).scalar_one() == 40
    await other.close()


async def test_a_new_file_that_another_process_writes_is_waited_for(tmp_path: Path) -> None:
    database = Database(at_file(tmp_path / "new.db"))
    with closing(sqlite3.connect(database.location.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        opening = asyncio.create_task(is_in_wal_mode(database))
        assert not (await asyncio.wait({opening}, timeout=0.1))[0]
        other.execute("COMMIT")
        assert await opening
    await database.close()


async def is_in_wal_mode(database: Database) -> bool:
    async with database.connect() as connection:
        return await connection.scalar(text("PRAGMA journal_mode")) == "wal"


async def test_what_is_done_while_the_server_is_away_fails_and_works_again_afterwards(
    databases: Databases,
) -> None:
    database = Database(databases.postgres())
    await check(database)
    databases.server.stop(kill=True)
    try:
        for _ in range(2):  # with the open connection, and with a new one
            with pytest.raises(StoreUnavailable):
                await check(database)
    finally:
        databases.server.start()
    await check(database)
    await database.close()


async def test_a_full_disk_is_unavailable_and_changes_nothing(databases: Databases) -> None:
    database = Database(databases.sqlite())

    async def fill() -> None:
        async with database.begin() as connection:
            pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
            await connection.execute(text(f"PRAGMA max_page_count={pages}"))
            rows = [{"topic": f"{number:0999}", "number": 1} for number in range(1000)]
            await connection.execute(insert(changes), rows)

    with pytest.raises(StoreUnavailable) as raised:
        await fill()
    assert "disk is full" in raised.value.reason
    async with database.connect() as connection:
        assert (await connection.execute(select(changes))).all() == []
    await database.close()


async def test_a_value_of_another_type_is_a_fault_and_no_outage(databases: Databases) -> None:
    database = Database(databases.postgres())

    async def select_five() -> None:
        async with database.begin() as connection:
            await connection.execute(text("SELECT CAST(:a AS text)"), {"a": 5})

    with pytest.raises(DBAPIError, match="expected str"):
        await select_five()
    await database.close()


def test_another_pytest_does_not_close_the_way_to_the_servers_files(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """When it starts, it takes the rights of others from the folder of all its runs."""
    runs = next(one for one in tmp_path_factory.getbasetemp().parents if "pytest-of" in one.name)
    assert not server_folder().is_relative_to(runs)
