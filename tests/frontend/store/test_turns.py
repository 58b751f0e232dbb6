"""One gateway at a time has a turn, on both databases, and the end of a process gives it back."""

import asyncio
import sys
from asyncio.subprocess import PIPE

import pytest

from frontend.store.database import Database
from frontend.store.location import Location, parse_location
from frontend.store.turns import turn
from tests.support.processes import ROOT

_HOLDER = """
import asyncio, sys
from frontend.store.database import Database
from frontend.store.location import parse_location
from frontend.store.turns import turn

async def main():
    async with turn(Database(parse_location(sys.argv[1])), "room"):
        print("held", flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_turns_of_one_name_do_not_overlap_and_others_do(location: Location) -> None:
    """As of two processes: each has connections of its own."""
    databases = [Database(location), Database(location)]
    inside: list[str] = []

    async def work(database: Database, name: str) -> None:
        for _ in range(3):
            async with turn(database, name):
                assert name not in inside
                inside.append(name)
                await asyncio.sleep(0.01)
                inside.remove(name)

    await asyncio.gather(*(work(one, name) for one in databases for name in ("a", "b")))
    async with turn(databases[0], "a"), turn(databases[1], "b"):
        pass
    for one in databases:
        await one.close()


async def test_a_killed_process_gives_its_turn_back(location: Location) -> None:
    url = location.url.set(drivername=location.url.get_backend_name())
    command = [sys.executable, "-c", _HOLDER, url.render_as_string(hide_password=False)]
    holder = await asyncio.create_subprocess_exec(*command, stdout=PIPE, cwd=ROOT)
    database = Database(location)
    try:
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"held\n"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5), turn(database, "room"):
                pass
        holder.kill()
        await holder.communicate()
        async with asyncio.timeout(60), turn(database, "room"):
            pass
    finally:
        if holder.returncode is None:
            holder.kill()
            await holder.communicate()
        await database.close()


async def test_without_a_database_the_work_is_done_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for url in ("postgresql://nobody@127.0.0.1:9/nothing", "sqlite:////nowhere/gateway.db"):
        database, done = Database(parse_location(url)), False
        async with turn(database, "room"):
            done = True
        await database.close()
        assert done
    assert caplog.text.count("continuing without the lock 'room'") == 2
