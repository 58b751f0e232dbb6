"""Removes expired records, and writes an event to the chain that proves which were removed.

The event of each group has counts and the SHA-256 of the removed records' lines, the oldest first,
as an export writes them, so it can be compared with an export. Several gateways may purge at a
time: each proves what it removed itself. The next purge ends one that was cut off (`audit.trail`).
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frontend.audit.artifacts import Artifacts, Removal
from frontend.audit.search import line_of
from frontend.audit.trail import Step, Trail, left_in
from frontend.background import in_background
from frontend.errors import StoreUnavailable
from frontend.store.audit import AuditStore, Removed, first_id, moment_of

DAY_US = 86_400 * 1_000_000
_PERIOD_S = 3600.0
_FIRST_S = 60.0
_PIECE = 500
_MOST_DIGESTS = 1000  # that one event lists
_log = logging.getLogger(__name__)
Prove = Callable[[str, dict[str, Any]], Awaitable[None]]


@dataclass(slots=True)
class Proof:
    """What was removed of one group."""

    records: int = 0
    contents: int = 0
    artifacts: int = 0
    artifact_bytes: int = 0
    missing: int = 0
    waiting: int = 0
    """Artifacts in a bucket that is away: removed once it is back."""
    first_id: int = 0
    last_id: int = 0
    digests: list[str] = field(default_factory=list)
    _lines: Any = field(default_factory=hashlib.sha256)

    def add(self, removed: Removed) -> None:
        """Takes one piece."""
        self.first_id = self.first_id or removed.records[0].id
        self.last_id = removed.records[-1].id
        self.records += len(removed.records)
        self.contents += removed.contents
        for record in removed.records:
            self._lines.update(line_of(record))

    def details(self, before_us: int, left: int) -> dict[str, Any]:
        """For the event."""
        return {
            "before_us": before_us,
            "records": self.records,
            "contents": self.contents,
            "artifacts": self.artifacts,
            "artifact_bytes": self.artifact_bytes,
            "artifacts_missing": self.missing,
            "artifacts_waiting": self.waiting,
            "first_at_us": moment_of(self.first_id),
            "last_at_us": moment_of(self.last_id),
            "sha256": self._lines.hexdigest(),
            "artifact_digests": self.digests[:_MOST_DIGESTS],
            "left": left,
        }


@dataclass(slots=True)
class Purge:
    """`days` says how many days the records of each group are kept, "" being no group.

    `prove` writes the event about a group.
    """

    store: AuditStore
    artifacts: Artifacts
    days: Callable[[], Awaitable[Callable[[str], int]]]
    prove: Prove
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Purges every hour until the block ends."""
        async with in_background(self._repeat()):
            yield

    async def run(self) -> dict[str, dict[str, Any]]:
        """Removes what is due; returns what was removed, by group. Raises StoreUnavailable while
        the database cannot be reached."""
        days, proofs = await self.days(), await self._end_others()
        for group_id in await self.store.groups():
            before_us = self.now_us() - days(group_id) * DAY_US
            trail = Trail(self._trails)
            is_done = False
            try:
                proof = await self._purge(group_id, before_us, trail)
                if proof.records:
                    left = len(await self.store.older(group_id, first_id(before_us), 1))
                    proofs[group_id] = proof.details(before_us, left)
                    await self.prove(group_id, proofs[group_id])
                    _log.info("removed %d audit records of group '%s'", proof.records, group_id)
                is_done = True
            finally:
                trail.close(done=is_done)
        if any(one["contents"] for one in proofs.values()):
            await self.store.forget()
        return proofs

    @property
    def _trails(self) -> Path:
        return self.artifacts.folder / "purging"

    async def _purge(self, group_id: str, before_us: int, trail: Trail) -> Proof:
        proof = Proof()

        def note(removed: Removed) -> None:
            before = proof.details(before_us, 0) if proof.records else None
            proof.add(removed)
            digests = [digest for digest, _ in removed.artifacts]
            first = removed.records[0].id
            trail.write(Step(group_id, first, before, proof.details(before_us, 0), digests))

        while True:
            removed = await self.store.remove(group_id, first_id(before_us), _PIECE, note)
            if not removed.records:
                return proof
            for digest, size in removed.artifacts:
                removal = await asyncio.to_thread(self.artifacts.remove, digest)
                proof.artifacts += removal is Removal.REMOVED
                proof.artifact_bytes += size * (removal is Removal.REMOVED)
                proof.missing += removal is Removal.MISSING
                proof.waiting += removal is Removal.WAITING
                proof.digests.append(digest)
            await asyncio.sleep(0)  # requests' records are written between two pieces

    async def _end_others(self) -> dict[str, dict[str, Any]]:
        """Ends the purges of processes that ended; what they removed, by group."""
        proofs = {}
        with left_in(self._trails) as left:
            for path, step in left:
                details = None if step is None else await self._end(step)
                if step is not None and details is not None:
                    proofs[step.group_id] = details
                    await self.prove(step.group_id, details)
                path.unlink(missing_ok=True)
        return proofs

    async def _end(self, step: Step) -> dict[str, Any] | None:
        if await self.store.get(step.record_id) is not None:
            details = step.before  # its last transaction was not committed
        else:
            details = step.after
            for digest in step.digests:
                if await self.store.owners_of(digest):
                    continue
                removal = await asyncio.to_thread(self.artifacts.remove, digest)
                details["artifacts"] += removal is Removal.REMOVED
                # also those that the purge had removed before it was cut off
                details["artifacts_missing"] += removal is Removal.MISSING
                details["artifacts_waiting"] += removal is Removal.WAITING
                if len(details["artifact_digests"]) < _MOST_DIGESTS:
                    details["artifact_digests"].append(digest)
        return None if details is None else details | {"interrupted": True}

    async def _repeat(self) -> None:
        await asyncio.sleep(_FIRST_S)
        while True:
            try:
                await self.run()
            except StoreUnavailable as error:
                _log.warning("the audit cannot be purged: %s", error.reason)
            except Exception:
                _log.exception("the audit cannot be purged")
            await asyncio.sleep(_PERIOD_S)
