"""Migrations on both databases: up, down and up again; what a start refuses; tables as declared."""

import asyncio

import pytest
from sqlalchemy import insert, inspect, select, text

from frontend.errors import InvalidRequest, StoreUnavailable
from frontend.store import migrate
from frontend.store.database import Database
from frontend.store.location import Location, parse_location
from frontend.store.migrate import WrongRevision, check, current_revision, downgrade, upgrade
from frontend.store.tables import changes, metadata
from tests.support.databases import Databases
from tests.support.migrations import differences

NEWEST = migrate.revisions()[-1]


async def tables(database: Database) -> set[str]:
    async with database.connect() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def test_the_migrations_make_the_tables_that_the_code_declares(database: Database) -> None:
    assert await tables(database) == {*metadata.tables, "alembic_version"}
    async with database.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_up_down_and_up_again(database: Database) -> None:
    await check(database)
    for revision in (*reversed(migrate.revisions()[:-1]), "base"):
        assert await downgrade(database, revision) is not None
    assert await tables(database) == {"alembic_version"}
    assert await current_revision(database) is None
    assert await upgrade(database) is None
    await check(database)
    assert await upgrade(database) == NEWEST  # which does nothing


async def test_a_start_refuses_a_database_without_tables(empty: Location) -> None:
    database = Database(empty)
    with pytest.raises(WrongRevision, match="has no tables; run `triton-gateway migrate`"):
        await check(database)
    await database.close()


async def test_a_start_refuses_other_revisions(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "revisions", lambda: (NEWEST, "9999"))
    with pytest.raises(WrongRevision, match=r"needs 9999; run `triton-gateway migrate`"):
        await check(database)
    monkeypatch.setattr(migrate, "revisions", lambda: ("0000",))
    with pytest.raises(WrongRevision, match=r"does not know.*migrate --down 0000"):
        await check(database)
    with pytest.raises(WrongRevision, match="newer release"):
        await upgrade(database)


async def test_down_refuses_what_is_not_an_older_revision(database: Database) -> None:
    with pytest.raises(WrongRevision, match="'0815' is not a revision; there are base, 0001"):
        await downgrade(database, "0815")


async def test_processes_that_migrate_at_once_take_turns(empty: Location) -> None:
    several = [Database(empty) for _ in range(4)]
    assert sorted(map(str, await asyncio.gather(*map(upgrade, several)))) == [
        *[NEWEST] * 3,
        "None",
    ]
    for database in several:
        await database.close()


async def test_a_failed_migration_changes_nothing(
    empty: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(empty)
    run = migrate._run

    def fail(*arguments: object) -> None:
        run(*arguments)  # type: ignore[arg-type]
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(migrate, "_run", fail)
    with pytest.raises(RuntimeError):
        await upgrade(database)
    assert await tables(database) == set()
    await database.close()


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
