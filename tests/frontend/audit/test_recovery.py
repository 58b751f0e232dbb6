"""Records of gateways that were killed: from their journals, and from what the ledger charges."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from frontend.accounts.ledger import Ledger
from frontend.audit.recovery import Recovery
from frontend.audit.writer import Pending, Writer
from frontend.domain.audit import AuditLevel, AuditPolicy, AuditRecord
from frontend.domain.metering import Owner, UsageRow
from frontend.domain.usage import Usage
from frontend.errors import StoreUnavailable
from frontend.store.audit import AuditFilter, AuditStore
from frontend.store.database import Database
from frontend.store.ledger.books import LedgerStore
from tests.support.accounts import add, opened
from tests.support.audits import EVER, START_US, record, uncounted

METADATA = AuditPolicy(AuditLevel.METADATA)


def killed(store: AuditStore, folder: Path, *records: AuditRecord) -> None:
    """A process that took records, and whose files nobody holds any more."""
    writer = Writer(store, folder, 100, 100_000, uncounted, uncounted)
    for one in records:
        writer.add(Pending(one))
    writer._journal.close()


def charged(request_id: str, owner: Owner, status: int = 500) -> UsageRow:
    row = UsageRow(request_id, owner, "m", "openai", "/v1/chat/completions", "triton", START_US)
    row.usage, row.status, row.estimated = Usage(3, completion_tokens=4), status, True
    return row


async def everything(store: AuditStore) -> dict[str, AuditRecord]:
    found = await store.search(AuditFilter(0, EVER), None, 100)
    assert len({one.request_id for one in found}) == len(found)
    return {one.request_id: one for one in found}


async def test_what_had_ended_is_read_from_the_journal_once(
    database: Database, tmp_path: Path
) -> None:
    store, added = AuditStore(database), list[int]()
    ended, written = replace(record(1), level="full"), record(2)
    await store.add([(written, None)])
    killed(store, tmp_path, ended, written)
    recovery = Recovery(store, tmp_path, METADATA, added.append)
    # the ledger charges the first one as well: its own record has more
    await recovery.run([charged(ended.request_id, Owner())])
    await recovery.run([])
    assert added == [1]
    assert await everything(store) == {
        ended.request_id: replace(ended, level="metadata"),
        written.request_id: written,
    }
    assert not [*(tmp_path / "journal").glob("*.journal")]


async def test_what_was_running_is_known_from_the_ledger(
    database: Database, tmp_path: Path
) -> None:
    directory = await opened(database)
    user, _ = await add(directory, "ada", "student")
    store = AuditStore(database)
    recovery = Recovery(store, tmp_path, METADATA, uncounted)
    owner = Owner("org", user.group_id, user.id, "key")
    rows = [charged("a", owner), charged("b", owner, 499), charged("c", Owner())]
    await recovery.run(rows)
    await recovery.run(rows)
    found = await everything(store)
    assert {*found} == {"a", "b", "c"}
    one = found["a"]
    assert (one.user_name, one.group_id, one.key_id) == ("ada", user.group_id, "key")
    assert (one.decision, one.status, one.error) == ("allowed", 500, "gateway_ended")
    assert (one.prompt_tokens, one.completion_tokens, one.ran) == (3, 4, True)
    assert found["b"].decision == "cancelled"


async def test_a_policy_of_none_gets_no_record(database: Database, tmp_path: Path) -> None:
    store = AuditStore(database)
    recovery = Recovery(store, tmp_path, AuditPolicy(AuditLevel.NONE), uncounted)
    await recovery.run([charged("a", Owner())])
    assert await everything(store) == {}


async def test_lines_that_cannot_be_read_stop_no_other(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = AuditStore(database)
    killed(store, tmp_path, record(1))
    (file,) = (tmp_path / "journal").glob("*.journal")
    file.write_bytes(b'{"id": 1}\nsecret half a li\n' + file.read_bytes())
    await Recovery(store, tmp_path, METADATA, uncounted).run([])
    assert {*await everything(store)} == {"r1"}
    assert "cannot be read" in caplog.text
    assert "secret" not in caplog.text


async def test_requests_are_kept_until_their_records_are_written(database: Database) -> None:
    seen: list[list[str]] = []

    async def fails_first(rows: Sequence[UsageRow]) -> None:
        seen.append([row.request_id for row in rows])
        if len(seen) == 1:
            raise StoreUnavailable("away")

    store = LedgerStore(database)
    ledger = Ledger(store, 0, 100, lambda _: None, lambda: None, settled=fails_first)
    ledger._sweeper._charged.append(charged("a", Owner()))
    with pytest.raises(StoreUnavailable):
        await ledger._sweeper.sweep(START_US)
    for _ in range(2):
        await ledger._sweeper.sweep(START_US)
    assert seen == [["a"], ["a"], []]


async def test_processes_of_one_machine_take_turns(database: Database, tmp_path: Path) -> None:
    store = AuditStore(database)
    rows = [charged("a", Owner())]
    both = (
        Recovery(store, tmp_path, METADATA, uncounted),
        Recovery(store, tmp_path, METADATA, uncounted),
    )
    await asyncio.gather(*(one.run(rows) for one in both))
    assert {*await everything(store)} == {"a"}
