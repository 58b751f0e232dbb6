"""Runs one batch, from its first line to its final status.

One thread writes the answers, so that reading them returns all of them. If the process ends, the
next one continues with the lines without an answer.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from frontend.batches import lines
from frontend.batches.answers import CANCELLED, EXPIRED, render_answer, render_missing
from frontend.batches.lines import Answered, LineBounds, Lines
from frontend.domain.batches import FINISHED, OUTPUT, Batch, LineError, Status, Upload
from frontend.store.batches import BatchStore
from frontend.store.uploads import UploadStore

T = TypeVar("T")
Perform = Callable[[Batch, bytes], Awaitable[tuple[int, bytes, str]]]
"""Runs one request of a batch: (status, body, request id)."""

_BUSY = frozenset({429, 503, 529})
_PAUSES_S = (1, 2, 4, 8, 15, 30, 60, 60, 60, 60)
"""Before a request that met a busy server, or a model that is being loaded, is tried again."""
_LOOK_S = 1.0
_FULL = LineError(
    "storage_limit_exceeded",
    "your files have reached their maximum total size; delete some of them",
)


@dataclass(frozen=True, slots=True)
class Means:
    """The parts that every batch needs to run."""

    batches: BatchStore
    uploads: UploadStore
    perform: Perform
    bounds: LineBounds
    slots: asyncio.Semaphore
    draining: Callable[[], bool]


class Work:
    """A batch that runs. `run` returns when it has finished, or when the server drains."""

    def __init__(self, batch: Batch, means: Means) -> None:
        self._batch = batch
        self._means = means
        self._thread = ThreadPoolExecutor(1, batch.id)
        self._running: asyncio.Task[None] | None = None
        self._stopped: str | None = None
        self._written = 0

    def stop(self, reason: str) -> None:
        """Stops running lines: the batch is `cancelled`, `expired` or `full`."""
        self._stopped = self._stopped or reason
        if self._running is not None:
            self._running.cancel()

    async def run(self) -> None:
        """Raises OSError for files that fail, GatewayError while the database is away."""
        try:
            await self._run()
        finally:
            self._thread.shutdown(wait=False)

    async def fail(self, code: str, message: str) -> None:
        """Ends the batch with a failure of the server."""
        before = await self._load()
        if before.status not in FINISHED:
            problems = (LineError(code, message),)
            failed = stamped(before, "failed", problems=problems)
            await self._means.batches.save(failed, before.status)

    async def _run(self) -> None:
        if (await self._load()).status in FINISHED:
            return
        path = self._means.uploads.path(self._batch.input)
        found = await self._call(
            partial(lines.read_lines, path, self._batch.endpoint, self._means.bounds)
        )
        if self._batch.status == "validating":
            if found.errors:
                await self._save("failed", problems=tuple(found.errors))
                return
            await self._save("in_progress", total=len(found.ids))
        if self._was_cancelled:
            self._stopped = "cancelled"
        if time.time() >= self._batch.expires_s:
            self._stopped = self._stopped or "expired"
        await self._run_lines(found)
        if not self._means.draining():
            await self._finish(found)

    async def _run_lines(self, found: Lines) -> None:
        """Returns when every line has an answer, or it was stopped."""
        if self._stopped is not None:
            return
        answered, failed = await self._answered()
        self._batch = replace(self._batch, completed=len(answered), failed=len(failed))
        files = [self._means.uploads.open_new(name) for name in self._file_ids]
        left = [
            (start, custom_id)
            for start, custom_id in zip(found.starts, found.ids, strict=True)
            if custom_id not in answered and custom_id not in failed
        ]
        self._running = asyncio.create_task(self._run_each(left, files))
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.wait([self._running, watch], return_when=asyncio.FIRST_COMPLETED)
            if watch.done():  # only with an error
                watch.result()
            if not self._running.cancelled():
                self._running.result()
            elif self._stopped is None:
                raise asyncio.CancelledError
        finally:
            for task in (self._running, watch):
                task.cancel()
            await asyncio.gather(self._running, watch, return_exceptions=True)
            await self._call(lambda: [*map(os.close, files)])

    async def _run_each(self, left: list[tuple[int, str]], files: list[int]) -> None:
        slots = self._means.slots
        try:
            async with asyncio.TaskGroup() as group:
                for start, custom_id in left:
                    await slots.acquire()
                    task = group.create_task(self._answer(start, custom_id, files))
                    task.add_done_callback(lambda _: slots.release())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _answer(self, start: int, custom_id: str, files: list[int]) -> None:
        path = self._means.uploads.path(self._batch.input)
        body = await asyncio.to_thread(lines.read_body, path, start)
        for pause_s in (*_PAUSES_S, None):
            status, answer, request_id = await self._means.perform(self._batch, body)
            if status in _BUSY and self._means.draining():
                return  # the next process runs it
            if status not in _BUSY or pause_s is None or b'"insufficient_quota"' in answer:
                break
            await asyncio.sleep(pause_s)
        line = render_answer(custom_id, status, answer, request_id)
        failed = status >= 400
        await self._call(partial(lines.write_line, files[failed], line))
        self._written += len(line)
        self._batch = replace(
            self._batch,
            completed=self._batch.completed + (not failed),
            failed=self._batch.failed + failed,
        )

    async def _watch(self) -> None:
        """Keeps the counts, and stops when another process cancels it, at its end, or when full."""
        means, saved = self._means, self._batch
        while True:
            await asyncio.sleep(_LOOK_S)
            now = self._batch
            if now is not saved and await means.batches.save(now, "in_progress"):
                saved = now
            if await means.batches.status(now.id) != "in_progress":
                self.stop("cancelled")
            elif time.time() >= now.expires_s:
                self.stop("expired")
            elif (
                await means.uploads.used_bytes(now.owner) + self._written > means.uploads.max_bytes
            ):
                self.stop("full")

    async def _finish(self, found: Lines) -> None:
        await self._load()
        if self._batch.status == "cancelling":
            self._stopped = "cancelled"
        elif self._batch.status != "finalizing":
            await self._save("finalizing")
            if self._was_cancelled:  # in this very moment
                self._stopped = "cancelled"
        answered, failed = await self._answered()
        missing = [one for one in found.ids if one not in answered and one not in failed]
        if self._stopped == "full":
            missing = []
        reason = CANCELLED if self._stopped == "cancelled" else EXPIRED
        await self._call(partial(self._write_missing, missing, reason))
        sizes = await self._call(self._sync)
        for file_id, kind, size in zip(self._file_ids, ("output", "error"), sizes, strict=True):
            if size:
                await self._means.uploads.add(self._output(file_id, kind, size), bounded=False)
        ends: dict[str | None, Status] = {
            "cancelled": "cancelled",
            "expired": "expired",
            "full": "failed",
        }
        await self._save(
            ends.get(self._stopped, "completed"),
            completed=len(answered), failed=len(failed) + len(missing),
            has_output=sizes[0] > 0, has_errors=sizes[1] > 0, usage=dict(answered.usage),
            problems=(_FULL,) if self._stopped == "full" else (),
        )  # fmt: skip

    @property
    def _was_cancelled(self) -> bool:
        return self._batch.status == "cancelling"

    @property
    def _file_ids(self) -> tuple[str, str]:
        return self._batch.output, self._batch.errors

    async def _answered(self) -> tuple[Answered, Answered]:
        """The custom ids that have an answer, and those whose request failed."""
        output, errors = map(self._means.uploads.path, self._file_ids)
        return await self._call(lambda: (lines.read_answered(output), lines.read_answered(errors)))

    def _write_missing(self, missing: list[str], reason: tuple[str, str]) -> None:
        if missing:
            file = self._means.uploads.open_new(self._batch.errors)
            try:
                for custom_id in missing:
                    lines.write_line(file, render_missing(custom_id, reason))
            finally:
                os.close(file)

    def _sync(self) -> list[int]:
        """The sizes of both files, which are on the disk then; an empty one is removed."""
        sizes = []
        for path in map(self._means.uploads.path, self._file_ids):
            size = path.stat().st_size if path.exists() else 0
            if size:
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            else:
                path.unlink(missing_ok=True)
            sizes.append(size)
        return sizes

    def _output(self, file_id: str, kind: str, size: int) -> Upload:
        batch, now_s = self._batch, int(time.time())
        expires_s = None if batch.output_ttl_s is None else now_s + batch.output_ttl_s
        name = f"{batch.id}_{kind}.jsonl"
        return Upload(file_id, batch.owner, name, OUTPUT, size, now_s, expires_s)

    async def _load(self) -> Batch:
        loaded = await self._means.batches.get(self._batch.owner, self._batch.id)
        self._batch = loaded or replace(self._batch, status="failed")
        return self._batch

    async def _save(self, status: Status, **more: Any) -> None:
        """The new status; the one that another process gave it where that came first."""
        changed = stamped(self._batch, status, **more)
        if await self._means.batches.save(changed, self._batch.status):
            self._batch = changed
        else:
            await self._load()

    async def _call(self, work: Callable[[], T]) -> T:
        """In the thread, after all that was written before."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def stamped(batch: Batch, status: Status, **more: Any) -> Batch:
    """The batch with another status and its time."""
    times = {**batch.times, status: int(time.time())}
    return replace(batch, status=status, times=times, **more)
