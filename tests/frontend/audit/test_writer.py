"""The writer's queue, its bounds, what survives an outage, and the purge with its proof."""

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from frontend.audit.artifacts import Artifacts, Removal
from frontend.audit.purge import DAY_US, Purge
from frontend.audit.search import line_of
from frontend.audit.writer import Pending, Writer
from frontend.domain.audit import Capture
from frontend.errors import AuditUnavailable, StoreUnavailable
from frontend.store.audit import AuditFilter, AuditStore
from frontend.store.database import Database
from tests.support.audits import EVER, START_US, record, uncounted


def full(number: int, text: str, files: list[bytes] | None = None) -> Pending:
    capture = Capture(keeps_text=True)
    capture.read(b'{"messages": [{"content": "%s"}]}' % text.encode())
    capture.add_artifacts(files or [], "image/png")
    return Pending(replace(record(number), level="full"), capture)


def made(store: AuditStore, folder: Path, lost: list[int], records: int = 4) -> Writer:
    return Writer(store, folder, records, 10_000, uncounted, lost.append)


def kept_in(folder: Path) -> int:
    """Files with records that could not be written."""
    return len([*folder.glob("unwritten-*")])


class Away(AuditStore):
    """A database that cannot be reached."""

    async def add(self, entries: Any) -> None:
        raise StoreUnavailable(f"{len(entries)} records")


async def test_what_does_not_fit_is_counted_and_strict_requests_are_refused_instead(
    database: Database, tmp_path: Path
) -> None:
    lost: list[int] = []
    writer = made(AuditStore(database), tmp_path, lost)
    for _ in range(2):
        writer.reserve()
    for number in range(3):
        writer.add(Pending(record(number)))
    assert lost == [1]  # two places are for the strict ones
    with pytest.raises(AuditUnavailable):
        writer.reserve()
    for number in (10, 11):
        writer.release()
        writer.add(Pending(record(number), is_strict=True))
    assert writer.backlog == 4
    await writer.flush()
    assert len(await writer.store.search(AuditFilter(0, EVER), None, 9)) == 4
    writer.reserve()


async def test_text_has_a_bound_of_bytes(database: Database, tmp_path: Path) -> None:
    lost: list[int] = []
    writer = made(AuditStore(database), tmp_path, lost, records=100)
    writer.add(full(1, "a" * 7500))
    writer.add(full(2, "fits no more"))
    assert (writer.backlog, lost) == (1, [1])


async def test_records_of_an_outage_are_written_after_the_next_start(
    database: Database, tmp_path: Path
) -> None:
    lost: list[int] = []
    writer = made(Away(database), tmp_path, lost)
    async with writer.running():
        writer.add(full(1, "while away"))
    assert kept_in(tmp_path) == 1
    again = made(AuditStore(database), tmp_path, lost)
    async with again.running():
        await again.flush()
    assert kept_in(tmp_path) == 0
    (found,) = await again.store.search(AuditFilter(0, EVER, words=("away",)), None, 9)
    assert found == replace(record(1), level="full")
    assert lost == []


async def test_one_bad_record_does_not_take_others_with_it(
    database: Database, tmp_path: Path
) -> None:
    lost: list[int] = []
    writer = made(AuditStore(database), tmp_path, lost)
    writer.add(Pending(record(1)))
    writer.add(Pending(replace(record(2), status=None)))  # type: ignore[arg-type]
    writer.add(Pending(record(3)))
    await writer.flush()
    found = await writer.store.search(AuditFilter(0, EVER), None, 9)
    assert [one.prompt_tokens for one in found] == [3, 1]
    assert lost == [1]


class Slow(AuditStore):
    """Notes how many records each transaction has; during each, another request ends."""

    writer: Writer

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.sizes: list[int] = []

    async def add(self, entries: Any) -> None:
        self.sizes.append(len(entries))
        if sum(self.sizes) < 20:
            for number in range(4):
                self.writer.add(Pending(record(10 * len(self.sizes) + number)))
        await super().add(entries)


async def test_what_arrives_during_a_transaction_is_written_after_a_pause(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    sleep = asyncio.sleep
    monkeypatch.setattr("frontend.audit.writer.asyncio.sleep", pause)
    store = Slow(database)
    store.writer = writer = made(store, tmp_path, [], records=100)
    writer.add(Pending(record(1)))
    async with writer.running():
        while writer.backlog or sum(store.sizes) < 21:
            await sleep(0.005)
        assert store.sizes == [1, 4, 4, 4, 4, 4]
        assert len(pauses) == len(store.sizes)
        monkeypatch.setattr("frontend.audit.writer._BATCH", 2)
        for number in range(5):
            writer.add(Pending(record(100 + number)))
        while writer.backlog:
            await sleep(0.005)
    assert store.sizes[6:] == [2, 2, 1]
    assert len(pauses) in (7, 8)  # full batches follow each other


async def test_a_purge_proves_what_it_removed(database: Database, tmp_path: Path) -> None:
    writer = made(AuditStore(database), tmp_path, [], records=100)
    writer.add(full(1, "canary", [b"old image", b"shared"]))
    writer.add(Pending(record(2)))
    writer.add(full(900_000, "kept", [b"shared"]))
    await writer.flush()
    lines = [line_of(one) for one in await writer.store.search(AuditFilter(0, EVER), None, 9)]
    events: dict[str, dict[str, Any]] = {}

    async def days() -> Any:
        return lambda group: 5 if group == "gu" else 1

    async def prove(group: str, details: dict[str, Any]) -> None:
        events[group] = details

    now_us = START_US + 900_000 * 1_000_000
    purge = Purge(writer.store, writer.artifacts, days, prove, lambda: now_us)
    await purge.run()
    proof = events["gu"]
    assert (proof["records"], proof["contents"], proof["artifacts"]) == (2, 1, 1)
    assert (proof["left"], proof["before_us"]) == (0, now_us - 5 * DAY_US)
    assert proof["sha256"] == hashlib.sha256(b"".join(reversed(lines[1:]))).hexdigest()
    gone, shared = (hashlib.sha256(file).hexdigest() for file in (b"old image", b"shared"))
    assert proof["artifact_digests"] == [gone]
    assert writer.artifacts.read(gone) is None
    assert writer.artifacts.read(shared) == b"shared"
    events.clear()
    await purge.run()
    assert events == {}


class Killed(BaseException):
    """Nothing handles it."""


@pytest.mark.parametrize("place", ["commit", "artifact", "proof"])
async def test_a_purge_that_is_cut_off_is_ended_and_proved_by_the_next_one(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr("frontend.audit.purge._PIECE", 2)
    writer = made(AuditStore(database), tmp_path, [], records=100)
    files = [f"image {number}".encode() for number in range(5)]
    for number, file in enumerate(files):
        writer.add(full(number, "canary", [file, b"shared"]))
        await writer.flush()
    writer.add(full(900_000, "kept", [b"shared"]))
    await writer.flush()
    lines = [line_of(one) for one in await writer.store.search(AuditFilter(0, EVER), None, 9)]
    events: list[dict[str, Any]] = []
    left = [1 if place == "proof" else 2]  # the second time, in the middle

    def cut(where: str) -> None:
        left[0] -= where == place
        if where == place and left[0] == 0:
            raise Killed

    async def days() -> Any:
        return lambda _: 5

    async def prove(_: str, details: dict[str, Any]) -> None:
        cut("proof")
        events.append(details)

    def purge() -> Purge:
        now_us = START_US + 900_000 * 1_000_000
        artifacts = Artifacts(writer.artifacts.folder)
        return Purge(writer.store, artifacts, days, prove, lambda: now_us)

    removes, commits = Artifacts.remove, AuditStore.remove

    def remove_file(artifacts: Artifacts, digest: str) -> Removal:
        cut("artifact")
        return removes(artifacts, digest)

    async def remove_rows(*given: Any) -> Any:
        removed = await commits(*given)
        cut("commit")
        return removed

    monkeypatch.setattr(Artifacts, "remove", remove_file)
    monkeypatch.setattr(AuditStore, "remove", remove_rows)
    with pytest.raises(Killed):
        await purge().run()
    assert events == []
    await purge().run()
    assert sum(one["records"] for one in events) == 5
    assert events[0]["interrupted"] is True
    assert [path.name for path in writer.artifacts.folder.rglob("*") if path.is_file()] == [
        hashlib.sha256(b"shared").hexdigest()
    ]
    digests = {one for each in events for one in each["artifact_digests"]}
    assert digests == {hashlib.sha256(file).hexdigest() for file in files}
    assert sum(one["artifacts"] + one["artifacts_missing"] for one in events) == 5
    oldest = [*reversed(lines[1:])]
    done = events[0]["records"]
    assert events[0]["sha256"] == hashlib.sha256(b"".join(oldest[:done])).hexdigest()
    await purge().run()
    assert len(events) == 1 + (done < 5)


def test_a_digest_is_never_a_path(tmp_path: Path) -> None:
    writer = Writer(None, tmp_path, 1, 1, uncounted, uncounted)  # type: ignore[arg-type]
    assert writer.artifacts.read("../../etc/passwd") is None


def test_the_words_of_failures_are_bounded_and_only_kept_with_text() -> None:
    kept, dropped = Capture(keeps_text=True), Capture()
    for capture in (kept, dropped):
        capture.failed("first")
        capture.failed("")
        capture.failed("x" * 100_000)
        capture.failed("last")
    assert kept.failure == "first\n" + "x" * (16_000 - len("first"))
    assert dropped.failure == ""
