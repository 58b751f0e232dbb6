"""The chain of admin events on both databases, and the command that checks it."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from frontend.accounts.directory.actor import OPERATOR
from frontend.commands.audit import main
from frontend.store.chain import _COLUMNS, Head, Verification, _digest, verify
from frontend.store.database import Database
from frontend.store.tables import admin_events, chain_heads
from tests.support.accounts import opened


async def changed(database: Database, name: str = "first") -> Verification:
    """Five events."""
    directory = await opened(database)
    made = await directory.organisations.create(OPERATOR, name)
    await directory.organisations.edit(OPERATOR, made.id, {"name": f"{name}2"})
    group = await directory.groups.create(OPERATOR, "team", made.id, 2)
    await directory.groups.edit(OPERATOR, group.id, {"weight": 3, "audit": "full"})
    await directory.groups.delete(OPERATOR, group.id)
    result = await verify(database)
    assert result.broken is None
    assert result.events == result.head.number == 5
    return result


async def alter(database: Database, statement: Any) -> None:
    async with database.begin() as connection:
        await connection.execute(statement)


async def test_events_have_the_rows_before_and_after(database: Database) -> None:
    await changed(database)
    columns = admin_events.c.target_id, admin_events.c.before, admin_events.c.after
    async with database.connect() as connection:
        rows = await connection.execute(select(*columns).order_by(admin_events.c.number))
        created, renamed, _, edited, deleted = rows.all()
    assert created.before is None
    assert created.after[f"organisation:{created.target_id}"]["name"] == "first"
    assert renamed.before == {f"organisation:{renamed.target_id}": {"name": "first"}}
    assert renamed.after == {f"organisation:{renamed.target_id}": {"name": "first2"}}
    assert edited.before == {f"group:{edited.target_id}": {"weight": 2, "audit": None}}
    assert edited.after == {f"group:{edited.target_id}": {"weight": 3, "audit": "full"}}
    assert deleted.before[f"group:{deleted.target_id}"]["name"] == "team"
    assert deleted.after is None


@pytest.mark.parametrize(
    "values", [{"details": {"name": "x"}}, {"actor_name": "x"}, {"before": None}, {"at_us": 1}]
)
async def test_a_changed_event_is_named(database: Database, values: dict[str, Any]) -> None:
    await changed(database)
    await alter(database, update(admin_events).where(admin_events.c.number == 4).values(values))
    broken = (await verify(database)).broken
    assert broken is not None
    assert broken.number == 4
    assert "was changed" in broken.reason


@pytest.mark.parametrize("number", [1, 3, 5])
async def test_a_removed_event_is_named(database: Database, number: int) -> None:
    await changed(database)
    await alter(database, delete(admin_events).where(admin_events.c.number == number))
    broken = (await verify(database)).broken
    assert broken is not None
    assert broken.number == number
    assert "missing" in broken.reason


async def test_a_chain_that_was_written_again_does_not_have_the_noted_head(
    database: Database,
) -> None:
    noted = (await changed(database)).head
    await alter(database, delete(admin_events))
    await alter(database, delete(chain_heads))
    assert (await changed(database, "second")).head != noted
    broken = (await verify(database, noted)).broken
    assert broken is not None
    assert "not the one whose head was noted" in broken.reason
    later = (await verify(database, Head(9, noted.digest))).broken
    assert later is not None
    assert later.number == 6


async def test_an_event_that_no_gateway_wrote_breaks_the_chain(database: Database) -> None:
    await changed(database)
    event = {"id": "x", "at_us": 1, "actor_id": "a", "actor_name": "a", "action": "users.edit"}
    event |= {"target_kind": "user", "target_id": "u", "details": {}}
    await alter(database, insert(admin_events).values(event))
    broken = (await verify(database)).broken
    assert broken is not None
    assert broken.event_id == "x"


async def test_the_command_says_which_link_is_broken(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    url = database.location.url.set(drivername="postgresql").render_as_string(hide_password=False)
    if database.location.is_sqlite:
        url = f"sqlite:///{database.location.file}"
    head = (await changed(database)).head
    given = ["verify", "--database-url", url, "--json"]
    assert await asyncio.to_thread(main, given) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == {"whole": True, "events": 5, "head": str(head), "broken": None}
    await alter(database, update(admin_events).where(admin_events.c.number == 2).values(action="x"))
    assert await asyncio.to_thread(main, given) == 3
    assert json.loads(capsys.readouterr().out)["broken"]["number"] == 2
    assert await asyncio.to_thread(main, given[:-1]) == 3
    assert capsys.readouterr().out.startswith("The chain is broken at event 2 (")


def test_the_digest_covers_every_column() -> None:
    """One that is added to the table must be part of the chain."""
    assert {*_COLUMNS} == {column.name for column in admin_events.c} - {"chain"}


@pytest.mark.parametrize("column", sorted({*_COLUMNS} - {"number"}))
async def test_an_edit_of_any_column_of_any_event_is_named(database: Database, column: str) -> None:
    await changed(database)
    values: dict[str, Any] = {"details": {"x": 1}, "before": {"x": 1}, "after": {"x": 1}}
    values |= {"at_us": 7}
    for number in (1, 3, 5):
        where = admin_events.c.number == number
        async with database.connect() as connection:
            row = (await connection.execute(select(admin_events).where(where))).mappings().one()
        edited = {column: values.get(column, "other")}
        await alter(database, update(admin_events).where(where).values(edited))
        assert await first_broken(database) == number
        await alter(database, update(admin_events).where(where).values({column: row[column]}))
    assert await first_broken(database) is None


async def first_broken(database: Database, noted: Head | None = None) -> int | None:
    broken = (await verify(database, noted)).broken
    return None if broken is None else broken.number


async def rows_of(database: Database) -> list[dict[str, Any]]:
    async with database.connect() as connection:
        query = select(admin_events).order_by(admin_events.c.number)
        return [dict(row) for row in (await connection.execute(query)).mappings()]


async def write(database: Database, rows: list[dict[str, Any]]) -> None:
    """Puts these rows in the place of all."""
    await alter(database, delete(admin_events))
    for row in rows:
        await alter(database, insert(admin_events).values(row))


def chained(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the numbers and digests that a gateway would have written: an attacker who can
    write to the database can compute them."""
    before = Head()
    for row in rows:
        row["number"] = before.number + 1
        row["chain"] = _digest(before.digest, {name: row[name] for name in _COLUMNS})
        before = Head(row["number"], row["chain"])
    return rows


@pytest.mark.parametrize(("one", "other"), [(1, 2), (2, 5), (4, 5)])
async def test_events_in_another_order_are_named(database: Database, one: int, other: int) -> None:
    await changed(database)
    rows = await rows_of(database)
    rows[one - 1], rows[other - 1] = rows[other - 1], rows[one - 1]
    # as they are, they would be read in their old order
    for number, row in enumerate(rows, 1):
        row["number"] = number
    await write(database, rows)
    assert await first_broken(database) == one


@pytest.mark.parametrize("place", [1, 3, 5])
async def test_an_inserted_event_is_named(database: Database, place: int) -> None:
    await changed(database)
    rows = await rows_of(database)
    rows.insert(place - 1, {**rows[0], "id": "forged", "action": "keys.create"})
    before = rows[place - 2]["chain"] if place > 1 else Head().digest
    rows[place - 1] |= {"number": place}
    forged = {name: rows[place - 1][name] for name in _COLUMNS}
    rows[place - 1]["chain"] = _digest(before, forged)
    for number, row in enumerate(rows, 1):
        row["number"] = number
    await write(database, rows)
    # its own digest fits; that of the next one does not
    assert await first_broken(database) == place + 1


@pytest.mark.parametrize("left", [0, 2, 4])
async def test_a_cut_end_is_named(database: Database, left: int) -> None:
    noted = (await changed(database)).head
    rows = (await rows_of(database))[:left]
    await write(database, rows)
    assert await first_broken(database) == left + 1
    # with a head that fits, only the noted one shows it
    last = Head(left, rows[-1]["chain"]) if rows else Head()
    values = {"number": last.number, "digest": last.digest}
    await alter(database, update(chain_heads).values(values))
    assert await first_broken(database, noted) == left + 1
    await alter(database, delete(chain_heads))
    assert await first_broken(database, noted) == left + 1


async def test_a_chain_that_is_written_again_from_a_place_on_differs_from_the_noted_head(
    database: Database,
) -> None:
    noted = (await changed(database)).head
    rows = await rows_of(database)
    rows[1]["actor_name"] = "somebody else"
    await write(database, chained(rows))
    head = {"number": 5, "digest": rows[-1]["chain"]}
    assert await first_broken(database) == 5  # the head is of the old chain
    await alter(database, update(chain_heads).values(head))
    assert await first_broken(database) is None
    assert await first_broken(database, noted) == 5


async def test_an_added_end_is_named(database: Database) -> None:
    await changed(database)
    rows = await rows_of(database)
    rows.append({**rows[0], "id": "forged"})
    await write(database, chained(rows))
    assert await first_broken(database) == 6


def test_wrong_arguments_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["verify", "--head", "7"])
    assert caught.value.code == 2
    assert "is not NUMBER:DIGEST" in capsys.readouterr().err
    assert main(["verify", "--database-url", "sqlite:////nowhere/x.db"]) == 2
