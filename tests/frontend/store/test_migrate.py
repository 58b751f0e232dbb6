"""Migrations on both databases: up, down and up again; what a start refuses; tables as declared."""

import asyncio

import pytest
from sqlalchemy import inspect

from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.users import NewUser
from frontend.domain.metering import Owner
from frontend.errors import Conflict
from frontend.store import migrate
from frontend.store.accounts import USERS
from frontend.store.database import Database
from frontend.store.location import Location
from frontend.store.migrate import WrongRevision, check, current_revision, downgrade, upgrade
from frontend.store.records import Range
from frontend.store.tables import metadata, subscriptions
from tests.support.accounts import opened
from tests.support.ledgers import NOW_US, check_views, hold_of, ledger_of, rows_of, used
from tests.support.migrations import differences, is_of_words

NEWEST = migrate.revisions()[-1]


async def tables(database: Database) -> set[str]:
    async with database.connect() as connection:
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        return {name for name in names if not is_of_words(name)}


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


async def test_sums_for_reports_are_filled_from_the_usage_that_there_is(database: Database) -> None:
    async with ledger_of(database) as ledger:
        for number in range(50):
            owner = Owner("o", f"g{number % 3}", f"u{number % 7}", f"k{number % 11}")
            start_us = NOW_US - number * 17 * 3_600_000_000
            hold = used(hold_of(owner, f"m{number % 2}", start_us), number, 1)
            hold.row.status = 503 if number % 4 == 0 else 200
            ledger.settle(hold)
    await check_views(database)
    await downgrade(database, "0010")
    await upgrade(database)
    await check_views(database)


async def test_a_subscription_keeps_what_its_plan_gave(database: Database) -> None:
    directory = await opened(database)
    user = await directory.users.create(OPERATOR, NewUser("ada"))
    plans = {one.name: one.id for one in await directory.plans.page(Range(50))}
    found = await directory.subscriptions.subscribe(OPERATOR, "user", user.id, plans["developer"])
    await downgrade(database, "0019")
    await upgrade(database)
    (row,) = await rows_of(database, subscriptions)
    assert (row.id, row.period_credits_micro) == (found.id, 1_000_000_000)


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


def user_row(name: str, email: str | None, **more: object) -> dict[str, object]:
    return {
        "id": f"id-{name}", "group_id": "g", "role": "student", "name": name, "email": email,
        "created_at_us": 1, "updated_at_us": 1, **more,
    }  # fmt: skip


async def test_addresses_that_differ_in_case_stop_the_migration_and_are_named(
    database: Database,
) -> None:
    directory = await opened(database)
    await downgrade(database, "0015")
    ada = await directory.users.create(OPERATOR, NewUser("ada", email="Ada@Example.org"))
    group = ada.group_id
    others = [
        user_row("bob", "ada@example.ORG", group_id=group),
        # neither is a duplicate: one is deleted, and the case of other alphabets counts
        user_row("eve", "ADA@example.org", group_id=group, deleted_at_us=2),
        user_row("uwe", "Ünal@example.org", group_id=group),
        user_row("uta", "ünal@example.org", group_id=group),
        user_row("tim", None, group_id=group),
        user_row("tom", None, group_id=group),
    ]
    async with database.begin() as rows:
        for row in others:
            await rows.execute(metadata.tables["users"].insert().values(row))
    with pytest.raises(WrongRevision) as refusal:
        await upgrade(database)
    told = str(refusal.value)
    assert "'ada' (id " in told
    assert "Ada@Example.org" in told
    assert "'bob' (id id-bob, ada@example.ORG)" in told
    assert not any(name in told for name in ("eve", "uwe", "uta", "tim", "tom"))
    assert await current_revision(database) == "0015", "nothing was changed"
    await directory.users.edit(OPERATOR, "id-bob", {"email": "bob@example.org"})
    assert await upgrade(database) == "0015"
    await check(database)


async def test_two_transactions_cannot_add_the_same_address(database: Database) -> None:
    """The rule is the database's own: it holds without the turns that changes of accounts take."""
    directory = await opened(database)
    group = (await directory.users.create(OPERATOR, NewUser("ada"))).group_id

    async def add(name: str, email: str) -> None:
        async with database.begin() as rows:
            await USERS.insert(rows, **user_row(name, email, group_id=group))

    emails = ["eve@example.org", "EVE@example.org", "Eve@Example.org", "eve@EXAMPLE.org"]
    results = await asyncio.gather(
        *(add(f"eve-{number}", email) for number, email in enumerate(emails)),
        return_exceptions=True,
    )
    assert results.count(None) == 1, results
    refused = [one for one in results if one is not None]
    assert all(isinstance(one, Conflict) and one.param == "email" for one in refused), refused
