"""Runs batches, in one of the processes that share a data directory, one batch per owner at a time.

A batch continues after its process has ended at any moment: its status is in the database, its
answers are in its files, and requests without an answer run again. Requests of other routes have
priority (`frontend.scheduling.policy`).
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial

from frontend.batches.work import Means, Work
from frontend.domain.batches import Batch
from frontend.errors import GatewayError

_AGAIN_S = 5.0
"""How often it looks for batches that another process took, and for the lock of one that ended."""
_SWEEP_S = 600.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Runner:
    """Finds batches to run, and runs them with `means`."""

    means: Means
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _owners: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _works: dict[str, Work] = field(default_factory=dict)
    _swept_s: float = -1e9

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Runs batches during the block."""
        task = asyncio.create_task(self._serve())
        try:
            yield
        finally:
            tasks = [task, *self._owners.values()]
            for one in tasks:
                one.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def changed(self, batch: Batch) -> None:
        """Looks for batches that were made or cancelled."""
        work = self._works.get(batch.id)
        if work is not None and batch.status == "cancelling":
            work.stop("cancelled")
        self._changed.set()

    async def _serve(self) -> None:
        lock = await self._lock()
        try:
            while True:
                self._changed.clear()
                try:
                    await self._start()
                except GatewayError as error:  # the database is away
                    _log.warning("batches wait: %s", error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN_S):
                        await self._changed.wait()
        finally:
            os.close(lock)

    async def _lock(self) -> int:
        """Waits until no other process runs the same batches. The kernel ends a lock
        with its process, however that ends."""
        path = self.means.uploads.lock
        await asyncio.to_thread(path.parent.mkdir, 0o700, parents=True, exist_ok=True)
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            await asyncio.sleep(_AGAIN_S)

    async def _start(self) -> None:
        waiting: dict[str, list[Batch]] = {}
        for batch in await self.means.batches.unfinished():
            waiting.setdefault(batch.owner, []).append(batch)
        for owner, own in waiting.items():
            if owner not in self._owners:
                task = asyncio.create_task(self._run_all(own))
                self._owners[owner] = task
                task.add_done_callback(partial(self._ended, owner))
        if time.monotonic() - self._swept_s > _SWEEP_S:
            self._swept_s = time.monotonic()
            await self.means.uploads.sweep()

    def _ended(self, owner: str, task: asyncio.Task[None]) -> None:
        del self._owners[owner]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a batch cannot run", exc_info=error)

    async def _run_all(self, batches: list[Batch]) -> None:
        for batch in batches:
            work = Work(batch, self.means)
            self._works[batch.id] = work
            try:
                await work.run()
            except OSError as error:
                _log.error("%s: %s", batch.id, error)
                await work.fail("storage_error", "the server could not read or write the files")
            except GatewayError as error:
                _log.warning("%s waits: %s", batch.id, error)
                await asyncio.sleep(_AGAIN_S)
                return
            finally:
                del self._works[batch.id]
        self._changed.set()
