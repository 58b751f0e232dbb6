"""Writes audit records in the background: a bounded queue, and one task that commits batches.

Requests do not wait for it. Records that do not fit are counted as lost, except for requests with a
strict policy: they reserve a place before they run, or are refused. Records that cannot be written
before the process ends are kept in a file for the next one. A journal keeps records without their
texts until they are written: `audit.recovery` adds those of a killed process.
"""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from frontend.audit.artifacts import Artifacts
from frontend.audit.bucket import BucketArtifacts
from frontend.audit.content import content_of
from frontend.audit.lines import from_line, journal_folder, line_without_text, to_line
from frontend.background import in_background
from frontend.domain.audit import AuditContent, AuditRecord, Capture
from frontend.domain.ids import new_id
from frontend.errors import AuditUnavailable, StoreUnavailable
from frontend.store.audit import AuditStore, Entry
from frontend.store.journal import Journal

_BATCH = 500
_BATCH_BYTES = 16 * 2**20
_DELAY_S = 0.25
_RETRY_S = 0.5
_END_S = 3.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Pending:
    """A record that is not written yet."""

    record: AuditRecord
    capture: Capture | None = None
    """Of a record whose text is kept."""
    is_strict: bool = False
    content: AuditContent | None = None

    @property
    def size_bytes(self) -> int:
        """Its approximate size in memory."""
        if self.capture is None:
            return 1000
        files = sum(len(file) for _, file in self.capture.artifacts)
        return 2000 + len(self.capture.body) + files


@dataclass(slots=True)
class Writer:
    """One process's queue. `written` and `lost` count records that are stored and that are not."""

    store: AuditStore
    folder: Path
    max_records: int
    max_bytes: int
    written: Callable[[int], None]
    lost: Callable[[int], None]
    bucket: BucketArtifacts | None = None
    _queue: deque[Pending] = field(default_factory=deque)
    _writing: list[Pending] = field(default_factory=list)
    _bytes: int = 0
    _reserved: int = 0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _isolates: int = 0
    _journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        self._journal = Journal(journal_folder(self.folder), new_id())

    @property
    def artifacts(self) -> Artifacts:
        """The store of images and files."""
        return self.bucket or Artifacts(self.folder / "artifacts")

    @property
    def backlog(self) -> int:
        """The number of waiting records."""
        return len(self._queue) + len(self._writing)

    def reserve(self) -> None:
        """Takes a place for a request whose record must not be lost. Raises AuditUnavailable if the
        queue is full."""
        if not self._has_room:
            raise AuditUnavailable
        self._reserved += 1

    def release(self) -> None:
        """Releases the place that `reserve` took."""
        self._reserved -= 1

    @property
    def _has_room(self) -> bool:
        return self.backlog + self._reserved < self.max_records and self._bytes < self.max_bytes

    def add(self, pending: Pending) -> None:
        """Takes a record. Never waits and never fails; counts what does not fit."""
        size = pending.size_bytes
        if not pending.is_strict and (not self._has_room or self._bytes + size > self.max_bytes):
            self.lost(1)
            return
        self._queue.append(pending)
        self._bytes += size
        self._journal.write(pending.record.request_id, line_without_text(pending.record))
        self._wake.set()

    async def flush(self) -> None:
        """Returns when what was added is written. Raises StoreUnavailable while the database cannot
        be reached."""
        async with self._turn:
            while self._queue or self._writing:
                await self._commit()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Writes until the block ends, and then the rest."""
        await asyncio.to_thread(self._take_kept)
        sending = nullcontext() if self.bucket is None else self.bucket.running(self.store)
        try:
            async with in_background(self._write()), sending:
                yield
        finally:
            with suppress(TimeoutError, StoreUnavailable):
                async with asyncio.timeout(_END_S):
                    await self.flush()
            if self.backlog:
                await asyncio.to_thread(self._keep)
            self._journal.close()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            # together with what arrives until then
            await asyncio.sleep(_DELAY_S)
            self._wake.clear()
            try:
                await self._write_waiting()
            except StoreUnavailable as error:
                _log.warning(
                    "%d audit records are waiting to be written: %s", self.backlog, error.reason
                )
                await asyncio.sleep(_RETRY_S)
                self._wake.set()

    async def _write_waiting(self) -> None:
        """What waits now. What arrives meanwhile is written after the next pause, unless there is
        much of it: under load it would otherwise be one transaction for each few records."""
        async with self._turn:
            is_due = bool(self._queue)
            while self._writing or is_due:
                await self._commit()
                is_due = len(self._queue) >= (1 if self._isolates else _BATCH)
        if self._queue:
            self._wake.set()

    async def _commit(self) -> None:
        """One transaction. What fails stays in `_writing` for the next attempt."""
        if not self._writing:
            size, most = 0, 1 if self._isolates else _BATCH
            while self._queue and len(self._writing) < most and size < _BATCH_BYTES:
                one = self._queue.popleft()
                size += one.size_bytes
                self._writing.append(one)
        await asyncio.to_thread(self._prepare, self._writing)
        entries: list[Entry] = [(one.record, one.content) for one in self._writing]
        try:
            await self.store.add(entries)
        except StoreUnavailable:
            raise
        except Exception as error:
            self._isolate(error)
            return
        self._isolates = max(self._isolates - 1, 0)
        self._done()
        self.written(len(entries))

    def _isolate(self, error: Exception) -> None:
        """Writes one by one what fails together, and gives up the record that is at fault."""
        if len(self._writing) == 1:
            # only its type: the text may quote the record
            _log.error(
                "an audit record was lost, request %s: %s",
                self._writing[0].record.request_id, type(error).__name__,
                extra={"id": self._writing[0].record.request_id},
            )  # fmt: skip
            self.lost(1)
            self._done()
            return
        self._isolates = len(self._writing)
        self._queue.extendleft(reversed(self._writing))
        self._writing = []

    def _done(self) -> None:
        self._journal.saved(one.record.request_id for one in self._writing)
        self._bytes -= sum(one.size_bytes for one in self._writing)
        self._writing = []

    def _prepare(self, batch: list[Pending]) -> None:
        for one in batch:
            if one.capture is not None and one.content is None:
                one.content = content_of(one.record, one.capture, self.artifacts)

    def _keep(self) -> None:
        """Writes what is left into a file of its own."""
        left = [*self._writing, *self._queue]
        self._prepare(left)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"unwritten-{time.time_ns()}-{os.getpid()}.jsonl"
        try:
            with os.fdopen(
                os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb"
            ) as file:
                for one in left:
                    file.write(to_line(one.record, one.content))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.lost(len(left))
            _log.error("%d audit records were lost: %s", len(left), error.strerror)
            return
        self._journal.saved(one.record.request_id for one in left)
        _log.warning("%d audit records are in %s until the next start", len(left), path)

    def _take_kept(self) -> None:
        """Takes what a process before could not write."""
        for path in sorted(self.folder.glob("unwritten-*.jsonl")):
            taken = path.with_suffix(f".{os.getpid()}")
            try:
                path.rename(taken)  # of several processes one gets it
            except FileNotFoundError:
                continue
            for line in taken.read_bytes().splitlines():
                record, content = from_line(line)
                self._queue.append(Pending(record, content=content, is_strict=True))
                self._bytes += self._queue[-1].size_bytes
            taken.unlink()
        if self._queue:
            self._wake.set()
