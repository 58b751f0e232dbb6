"""One batch: how it ends, also when its time or room ends, it is cancelled, or a model is busy."""

import asyncio
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from frontend.batches.callers import read_caller, write_caller
from frontend.batches.lines import LineBounds
from frontend.batches.perform import Performer
from frontend.batches.work import Means, Work, stamped
from frontend.domain.batches import BATCH, Batch, Upload, new_id
from frontend.domain.identity import ANONYMOUS, Caller, Scope
from frontend.domain.labels import Rules
from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.store.batches import BatchStore
from frontend.store.database import Database
from frontend.store.uploads import UploadStore

ENDPOINT = "/v1/embeddings"
ANSWER = b'{"data":[]}'


class Lab:
    """A batch of some lines, and what answers them."""

    def __init__(self, database: Database, folder: Path, max_bytes: int = 10**6) -> None:
        self.uploads = UploadStore(database, folder, max_bytes)
        self.batches = BatchStore(database)
        self.statuses: list[int] = []
        self.performed = 0
        self.hang_after: int | None = None
        self.draining = False
        self.busy = asyncio.Event()
        bounds = LineBounds(100, 10_000, 1000, 1000)
        self.means = Means(
            self.batches, self.uploads, self.perform, bounds, asyncio.Semaphore(4),
            lambda: self.draining,
        )  # fmt: skip

    async def perform(self, batch: Batch, body: bytes) -> tuple[int, bytes, str]:
        self.performed += 1
        if self.means.slots.locked():
            self.busy.set()
        if self.hang_after is not None and self.performed > self.hang_after:
            await asyncio.Event().wait()
        return (self.statuses.pop() if self.statuses else 200), ANSWER, "request"

    async def batch(self, lines: int = 10, **more: Any) -> Batch:
        file_id, now_s = new_id("file-"), int(time.time())
        body = {"method": "POST", "url": ENDPOINT, "body": {"model": "m"}}
        content = "".join(json.dumps({"custom_id": str(n), **body}) + "\n" for n in range(lines))
        self.uploads.folder.mkdir(exist_ok=True)
        self.uploads.path(file_id).write_text(content)
        await self.uploads.add(Upload(file_id, "anna", "in", BATCH, len(content), now_s))
        caller, expires_s = write_caller(ANONYMOUS), now_s + 60
        output, errors = new_id("file-"), new_id("file-")
        made = Batch(
            new_id("batch_"), "anna", caller, ENDPOINT, file_id, output, errors, now_s, expires_s
        )
        made = replace(made, **more)
        await self.batches.add(made)
        return made

    async def end(self, batch: Batch) -> Batch:
        found = await self.batches.get("anna", batch.id)
        assert found is not None
        return found

    def codes(self, batch: Batch) -> list[str]:
        lines = self.uploads.path(batch.errors).read_text().splitlines()
        return [json.loads(one)["error"]["code"] for one in lines]


@pytest.fixture
def lab(database: Database, tmp_path: Path) -> Lab:
    return Lab(database, tmp_path / "files")


async def test_every_line_is_answered(lab: Lab) -> None:
    batch = await lab.batch()
    await Work(batch, lab.means).run()
    ended = await lab.end(batch)
    assert (ended.status, ended.total, ended.completed, ended.failed) == ("completed", 10, 10, 0)
    assert (ended.has_output, ended.has_errors) == (True, False)
    output = await lab.uploads.get("anna", ended.output)
    assert output is not None
    assert output.size_bytes == lab.uploads.path(ended.output).stat().st_size
    assert await lab.uploads.get("ben", ended.output) is None
    await Work(batch, lab.means).run()  # which does nothing
    assert lab.performed == 10


async def test_what_did_not_run_in_time_expires(lab: Lab) -> None:
    batch = await lab.batch(expires_s=int(time.time()) - 1)
    await Work(batch, lab.means).run()
    ended = await lab.end(batch)
    assert (ended.status, ended.failed, lab.performed) == ("expired", 10, 0)
    assert lab.codes(ended) == ["batch_expired"] * 10


async def test_a_batch_that_was_cancelled_before_its_start_runs_nothing(lab: Lab) -> None:
    batch = await lab.batch()
    assert await lab.batches.save(stamped(batch, "cancelling"), "validating")
    await Work(batch, lab.means).run()
    ended = await lab.end(batch)
    assert (ended.status, lab.performed, "cancelled" in ended.times) == ("cancelled", 0, True)
    assert lab.codes(ended) == ["batch_cancelled"] * 10


async def test_another_process_can_cancel_it(lab: Lab) -> None:
    batch, lab.hang_after = await lab.batch(), 0
    work = asyncio.create_task(Work(batch, lab.means).run())
    await lab.busy.wait()
    running = await lab.end(batch)
    assert await lab.batches.save(stamped(running, "cancelling"), "in_progress")
    await work
    assert (await lab.end(batch)).status == "cancelled"
    assert not lab.means.slots.locked()


async def test_answers_beyond_the_owners_bytes_end_it(database: Database, tmp_path: Path) -> None:
    lab = Lab(database, tmp_path / "files", max_bytes=1500)
    batch = await lab.batch()
    lab.hang_after = 5
    await asyncio.wait_for(Work(batch, lab.means).run(), 30)
    ended = await lab.end(batch)
    assert (ended.status, ended.completed, ended.has_output) == ("failed", 5, True)
    assert [one.code for one in ended.problems] == ["storage_limit_exceeded"]


async def test_a_busy_model_is_asked_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frontend.batches.work._PAUSES_S", (0, 0))
    batch, lab.statuses = await lab.batch(2), [503, 429]
    await Work(batch, lab.means).run()
    assert ((await lab.end(batch)).completed, lab.performed) == (2, 4)
    batch, lab.statuses = await lab.batch(1), [503, 503, 503]
    await Work(batch, lab.means).run()
    assert (await lab.end(batch)).failed == 1


async def test_a_drain_leaves_the_rest_to_the_next_process(lab: Lab) -> None:
    batch, lab.statuses, lab.draining = await lab.batch(), [503] * 5, True
    await Work(batch, lab.means).run()
    left = await lab.end(batch)
    assert left.status == "in_progress"
    lab.draining = False
    await Work(batch, lab.means).run()
    ended = await lab.end(batch)
    assert (ended.status, ended.completed, lab.performed) == ("completed", 10, 15)


async def test_a_lost_file_fails_the_batch(lab: Lab) -> None:
    batch = await lab.batch()
    lab.uploads.path(batch.input).unlink()
    work = Work(batch, lab.means)
    with pytest.raises(FileNotFoundError):
        await work.run()
    await work.fail("storage_error", "lost")
    ended = await lab.end(batch)
    assert (ended.status, [one.code for one in ended.problems]) == ("failed", ["storage_error"])


async def test_expired_and_unfinished_files_are_swept(lab: Lab) -> None:
    batch = await lab.batch()
    old = Upload("file-old", "anna", "x", BATCH, 1, 1, int(time.time()) - 1)
    for name in ("file-old", "file-torn.part"):
        lab.uploads.path(name).write_text("x")
    os.utime(lab.uploads.path("file-torn.part"), (0, 0))
    await lab.uploads.add(old)
    assert await lab.uploads.get("anna", "file-old") is None
    await lab.uploads.sweep()
    assert [one.name for one in lab.uploads.folder.iterdir()] == [batch.input]


def test_a_caller_is_stored_whole() -> None:
    limited = replace(ANONYMOUS, scope=Scope(("a*",), ("/v1/*",)))
    for caller in (ANONYMOUS, limited):
        assert read_caller(json.loads(json.dumps(write_caller(caller)))) == caller


async def test_a_line_runs_under_the_policy_that_its_group_has_now() -> None:
    seen: list[Caller] = []

    async def handler(request: Request, client: Client) -> None:
        seen.append(request.caller)
        await client.respond(b"{}")

    async def rules_of(group: str, before: Rules) -> Rules:
        assert (group, before) == ("clinic", (("site", ("local", "berlin")),))
        return (("site", ("local",)),)

    owner = replace(ANONYMOUS, group="clinic", rules=(("site", ("local", "berlin")),))
    stored = json.loads(json.dumps(write_caller(owner)))
    assert read_caller(stored) == owner
    batch = Batch("b", "anna", stored, ENDPOINT, "i", "o", "e", 0, int(time.time()) + 60)
    performer = Performer(lambda _: handler, 5.0, rules_of)
    await performer(batch, b"{}")
    assert [one.rules for one in seen] == [(("site", ("local",)),)]
