"""A process that is killed at any step of reserve and settle loses no charge."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from frontend.accounts import sweeper
from frontend.accounts.memory import RULES_US
from frontend.accounts.quotas import Need
from frontend.accounts.windows import SECOND_US
from frontend.store import journal as journals
from frontend.store.database import Database
from frontend.store.journal import Journal, abandoned
from frontend.store.tables import usage
from tests.support.databases import Databases
from tests.support.killed import STEPS
from tests.support.ledgers import (
    SetClock,
    add_quota,
    check_books,
    counted,
    credits_of,
    hold_of,
    ledger_of,
    rows_of,
    subscribe,
    wait_until,
)
from tests.support.processes import ROOT


def test_lines_of_a_living_process_are_its_own(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "one")
    assert journal.write("a", b"1")
    assert journal.write("b", b"2")
    assert [*abandoned(tmp_path)] == []
    journal.saved(["a"])
    journal.close()
    assert [*abandoned(tmp_path)] == [[b"1", b"2"]]
    assert [*tmp_path.iterdir()] == []


def test_a_journal_stays_small(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "one")
    assert journal.write("long", b"0")
    for number in range(5000):
        assert journal.write(f"{number}", b"x" * 1000)
        journal.saved([f"{number}"])
    # the file of the one that is not saved, and the last one
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 3 << 20
    journal.saved(["long"])
    journal.close()
    assert [*tmp_path.iterdir()] == []


def test_lines_of_a_process_come_together_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "_FULL_BYTES", 0)  # a file for each line
    dead, living = Journal(tmp_path, "one"), Journal(tmp_path, "one-2")
    lines = [b"%d" % number for number in range(12)]
    for line in lines:
        assert dead.write("a request that runs, and then ends", line)
        assert living.write("another", line)
    dead.close()
    # a reader that took one file at a time would see the request run in one, and end in another
    assert [*abandoned(tmp_path)] == [lines]
    assert len([*tmp_path.iterdir()]) == len(lines)
    living.close()


def test_a_full_disk_keeps_no_half_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "one")
    assert journal.write("a", b"1")
    journal._files[-1].descriptor, kept = (
        os.open("/dev/full", os.O_WRONLY),
        journal._files[-1].descriptor,
    )
    assert not journal.write("b", b"2")
    os.close(journal._files[-1].descriptor)
    journal._files[-1].descriptor = kept
    assert journal.write("c", b"3")
    journal.close()
    assert [*abandoned(tmp_path)] == [[b"1", b"3"]]


async def test_a_gateway_stops_while_it_reads_a_journal(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, stopping = threading.Event(), threading.Event()

    def slow(_: Path) -> Iterator[list[bytes]]:
        reading.set()
        stopping.wait(20)
        yield []

    monkeypatch.setattr(sweeper, "abandoned", slow)
    async with ledger_of(database, folder=tmp_path):
        await wait_until(reading.is_set)
        asyncio.get_running_loop().call_later(0.05, stopping.set)


@pytest.mark.parametrize("step", STEPS)
async def test_a_kill_at_any_step_loses_no_charge(
    databases: Databases, tmp_path: Path, step: str
) -> None:
    location = databases.sqlite()
    database = Database(location)
    await add_quota(database, "tokens", "month", 100_000)
    await subscribe(database, "free")
    command = [
        sys.executable,
        "-m",
        "tests.support.killed",
        f"sqlite:///{location.file}",
        str(tmp_path),
        step,
    ]
    ended = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    clock = SetClock()
    # what only a reservation shows is swept when the lease of the dead one has ended
    clock.now_us += 60 * SECOND_US
    async with ledger_of(database, clock, folder=tmp_path):
        await wait_until(lambda: not any(tmp_path.iterdir()))
        while len(rows := await rows_of(database, usage)) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert len(rows) == 3
    # the one that ended is charged exactly, wherever its settle had got to
    tokens = 2 if step == "granted" else 17
    assert sum(row.prompt_tokens + row.completion_tokens for row in rows) == tokens
    assert (await counted(database))["user", "tokens", "month"] == (tokens, 0)
    # the running one had no token yet, and so costs no credit
    assert (await credits_of(database))["spent"] == (1 if step == "granted" else 2)
    await check_books(database)
    await database.close()


async def test_a_new_gateway_ends_the_others_being_alone(database: Database) -> None:
    await add_quota(database, "tokens", "month", 1000)
    clock = SetClock()
    async with ledger_of(database, clock) as first:

        async def granted_at_once() -> bool:
            hold = hold_of()
            await first.reserve(hold, Need(1, 1))
            was = bool(hold.queued)
            first.settle(hold)
            return was

        assert not await granted_at_once(), "its counters are not known"
        assert await granted_at_once()
        async with ledger_of(database, clock) as second:
            clock.now_us += RULES_US
            assert not await granted_at_once(), "it must look again"
            assert not await granted_at_once()
            hold = hold_of()
            await second.reserve(hold, Need(1, 1))
            assert not hold.queued
            second.settle(hold)
        clock.now_us += RULES_US
        await granted_at_once()
        assert await granted_at_once()
    await check_books(database)
