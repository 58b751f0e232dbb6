"""Backups of both databases: whole, consistent, and restored into either or not at all."""

import asyncio
import errno
import gzip
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from frontend.accounts.sessions import Sessions
from frontend.domain.ids import new_id
from frontend.errors import StoreUnavailable
from frontend.store.backup import BackupError, restore_backup, verify_backup, write_backup
from frontend.store.database import Database
from frontend.store.location import Location
from frontend.store.migrate import current_revision
from frontend.store.responses import ResponseStore
from frontend.store.tables import (
    admin_events,
    counters,
    metadata,
    organisations,
    reservations,
    usage,
)
from tests.support.accounts import add, opened
from tests.support.ledgers import (
    add_quota,
    check_books,
    check_views,
    credits_of,
    drained,
    ledger_of,
    reserve,
    rows_of,
    subscribe,
    used,
)
from tests.support.processes import PATIENCE_S


@pytest.fixture
async def other(empty: Location) -> AsyncIterator[Database]:
    opened = Database(empty)
    yield opened
    await opened.close()


async def fill(database: Database) -> None:
    """Text beyond ASCII, bytes, JSON, NULL; and more rows than are read at a time."""
    await ResponseStore(database, 60, 10**6).put({"id": "r", "a": "é😀"}, [{"b": None}])
    event = {"at_us": 2**53 + 1, "action": "a", "target_kind": "user", "target_id": "x"}
    event |= {
        "actor_id": "",
        "actor_name": "ä\n'",
        "details": {"base64": "aGk=", "list": [None, 0.5]},
    }
    async with database.begin() as connection:
        rows = [{"id": new_id(), **event} for _ in range(1100)]
        await connection.execute(insert(admin_events), rows)


async def contents(database: Database) -> dict[str, list[Any]]:
    async with database.connect() as connection:
        return {
            name: sorted(map(tuple, (await connection.execute(select(table))).all()), key=repr)
            for name, table in metadata.tables.items()
        }


async def test_a_backup_restores_everything_into_either_database(
    database: Database, other: Database, tmp_path: Path
) -> None:
    await fill(database)
    path = tmp_path / "backup"
    written = await write_backup(database, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert written["admin_events"] == 1100
    assert await restore_backup(other, path, force=False) == written
    assert await contents(other) == await contents(database)


async def test_sessions_are_not_in_a_backup_and_end_at_a_restore(
    database: Database, tmp_path: Path
) -> None:
    directory = await opened(database)
    user, _ = await add(directory, "ada")
    token = (await Sessions(database, directory.users.passwords).begin(user.id)).token
    written = await write_backup(database, path := tmp_path / "backup")
    assert (written["users"], written["sessions"]) == (1, 0)
    await restore_backup(database, path, force=True)
    found = await Sessions(database, directory.users.passwords).find(token.encode(), lambda: True)
    assert found is None


async def test_data_is_only_replaced_by_force(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "backup"
    await write_backup(database, path)
    await restore_backup(database, path, force=False)
    async with database.begin() as connection:
        row = {"id": new_id(), "name": "o", "created_at_us": 1}
        await connection.execute(insert(organisations), [row])
    with pytest.raises(BackupError, match=r"has rows in 'organisations'.*--force"):
        await restore_backup(database, path, force=False)
    await restore_backup(database, path, force=True)
    assert (await contents(database))["organisations"] == []


async def test_a_backup_sees_one_moment(database: Database, tmp_path: Path) -> None:
    """Pairs are added while backups are written: each backup has both rows of a pair or none."""
    done = asyncio.Event()

    async def add() -> None:
        number = 0
        while not done.is_set():
            number += 1
            async with database.begin() as connection:
                row = {"id": new_id(), "name": f"o{number}", "created_at_us": 1}
                await connection.execute(insert(organisations), [row])
                event = dict.fromkeys(("actor_id", "actor_name", "action", "target_kind"), "")
                event |= {"id": new_id(), "at_us": 1, "target_id": "", "details": {}}
                await connection.execute(insert(admin_events), [event])

    adding = asyncio.create_task(add())
    for number in range(5):
        rows = await write_backup(database, tmp_path / str(number))
        assert rows["organisations"] == rows["admin_events"]
    done.set()
    await adding


async def test_books_of_a_backup_under_writes_add_up(
    database: Database, other: Database, tmp_path: Path
) -> None:
    """Requests are charged while the backup is written; what it holds adds up."""
    await subscribe(database, "free")
    await add_quota(database, "tokens", "month", 10**6)
    done = asyncio.Event()
    async with ledger_of(database) as ledger:
        running = await reserve(ledger)

        async def charge() -> None:
            while not done.is_set():
                ledger.settle(used(await reserve(ledger), 10, 5))
                await drained(ledger)

        charging = asyncio.create_task(charge())
        for number in range(5):
            async with asyncio.timeout(PATIENCE_S):
                while len(await rows_of(database, usage)) <= number:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            path = tmp_path / str(number)
            written = await write_backup(database, path)
            assert await restore_backup(other, path, force=True) == written
            await check_views(other)
            rows, balances = await rows_of(other, usage), await credits_of(other)
            assert sum(balances.values()) == 0
            assert balances["spent"] == len(rows) > number
            (counter,) = await rows_of(other, counters)
            assert counter.used == 15 * len(rows)
            held = await rows_of(other, reservations)
            assert counter.reserved == sum(one.tokens for one in held) >= 30
            assert balances["reserved"] == len(held)
        done.set()
        await charging
        ledger.settle(used(running, 10, 5))
    assert (await check_books(database))["requests"] >= len(rows)


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _without_the_end(data: bytes) -> bytes:
    return gzip.compress(b"".join(gzip.decompress(data).splitlines(keepends=True)[:-1]))


def _with_a_row_removed(data: bytes) -> bytes:
    lines = gzip.decompress(data).splitlines(keepends=True)
    return gzip.compress(b"".join(line for line in lines if b'"ada"' not in line))


def _with_a_row_changed(data: bytes) -> bytes:
    return gzip.compress(gzip.decompress(data).replace(b'"ada"', b'"eve"'))


def _with_more(data: bytes) -> bytes:
    return gzip.compress(gzip.decompress(data) + b"[1]\n")


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        _without_the_end,
        _with_a_row_removed,
        _with_a_row_changed,
        _with_more,
        lambda _: b"",
        lambda _: b"hello",
        lambda _: gzip.compress(b"{}\n"),
        lambda _: gzip.compress(b"[1]\n"),
    ],
)
async def test_a_damaged_file_changes_nothing(
    damage: Any, database: Database, tmp_path: Path
) -> None:
    async with database.begin() as connection:
        row = {"id": new_id(), "name": "ada", "created_at_us": 1}
        await connection.execute(insert(organisations), [row])
    before, path = await contents(database), tmp_path / "backup"
    await write_backup(database, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BackupError):
        verify_backup(path)
    with pytest.raises(BackupError):
        await restore_backup(database, path, force=True)
    assert await contents(database) == before


async def test_a_backup_of_another_revision_is_refused(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "backup"
    await write_backup(database, path)
    monkeypatch.setattr("frontend.store.backup.revisions", lambda: ("0001", "9999"))
    with pytest.raises(BackupError, match=r"has revision \d+, this release has 9999"):
        await restore_backup(database, path, force=True)


async def test_a_full_disk_leaves_no_file(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    with pytest.raises(BackupError, match="No such file or directory"):
        await write_backup(database, folder / "backup")
    folder.mkdir()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BackupError, match="No space left on device"):
        await write_backup(database, folder / "backup")
    assert [*folder.iterdir()] == []


async def test_a_restore_that_fails_leaves_no_tables(
    database: Database, other: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "backup"
    await write_backup(database, path)

    async def fail(*_: object) -> None:
        raise ConnectionError("the network is gone")

    monkeypatch.setattr("frontend.store.backup._replace", fail)
    with pytest.raises(StoreUnavailable):
        await restore_backup(other, path, force=False)
    assert await current_revision(other) is None
