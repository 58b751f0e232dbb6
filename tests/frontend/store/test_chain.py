"""The chain of admin events on both databases, and the command that checks it."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from frontend.accounts.directory.actor import OPERATOR
from frontend.commands.audit import main
from frontend.store.chain import Head, Verification, verify
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


def test_wrong_arguments_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["verify", "--head", "7"])
    assert caught.value.code == 2
    assert "is not NUMBER:DIGEST" in capsys.readouterr().err
    assert main(["verify", "--database-url", "sqlite:////nowhere/x.db"]) == 2
