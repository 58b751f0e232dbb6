"""Adds the records of requests whose gateway was killed before it could write them.

Requests that had ended are in its journal, without their texts. Requests that were running are
known from the ledger, which charges them. Each request gets one record: processes of one machine
take turns, and records that the database has are left out.
"""

import asyncio
import fcntl
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from frontend.audit.lines import journal_folder, record_of
from frontend.domain.audit import AuditLevel, AuditPolicy, AuditRecord
from frontend.domain.metering import UsageRow
from frontend.errors import StoreUnavailable
from frontend.store.audit import SLOTS, AuditStore
from frontend.store.journal import abandoned, next_abandoned

_CLIENT_GONE = 499
_BATCH = 500
_TURN_S = 0.05
_TURNS = 100
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Recovery:
    """`folder`: the audit's; `default`: the policy of groups without one; `written` counts what is
    added."""

    store: AuditStore
    folder: Path
    default: AuditPolicy
    written: Callable[[int], None]
    _slot: int = field(default_factory=lambda: secrets.randbelow(SLOTS))

    async def run(self, charged: Sequence[UsageRow]) -> None:
        """Runs once; `charged`: requests of dead gateways that the ledger has settled. Raises
        StoreUnavailable while the database cannot be reached; then it must be repeated."""
        folder = journal_folder(self.folder)
        async with _turn(folder):
            with closing(abandoned(folder)) as files:
                while (lines := await next_abandoned(files)) is not None:
                    await self._add([*_records_of(lines)])
            for start in range(0, len(charged), _BATCH):
                await self._add(await self._records_of(charged[start : start + _BATCH]))

    async def _add(self, records: list[AuditRecord]) -> None:
        for start in range(0, len(records), _BATCH):
            some = records[start : start + _BATCH]
            known = await self.store.known([one.request_id for one in some])
            missing = [one for one in some if one.request_id not in known]
            if missing:
                await self.store.add([(one, None) for one in missing])
                self.written(len(missing))
                _log.warning("added %d audit records of a process that ended", len(missing))

    async def _records_of(self, rows: Sequence[UsageRow]) -> list[AuditRecord]:
        policies = await self.store.policies({row.owner.group for row in rows})
        names = await self.store.names({row.owner.user for row in rows})
        moments: set[int] = set()
        records = []
        for row in rows:
            level = policies.get(row.owner.group) or self.default.level.value
            if level == AuditLevel.NONE.value:
                continue
            at_us = row.started_us
            while at_us in moments:
                at_us += 1
            moments.add(at_us)
            name = names.get(row.owner.user, "")
            records.append(_record(row, at_us * SLOTS + self._slot, name))
        return records


def _records_of(lines: Iterable[bytes]) -> Iterable[AuditRecord]:
    for line in lines:
        try:
            yield record_of(orjson.loads(line))
        # half a line, of a disk that was full; or one of another release
        except (ValueError, TypeError, KeyError) as error:
            _log.warning("a line of the audit's journal cannot be read: %s", type(error).__name__)


def _record(row: UsageRow, record_id: int, user_name: str) -> AuditRecord:
    used = row.usage
    return AuditRecord(
        id=record_id,
        request_id=row.request_id,
        client_id="",
        group_id=row.owner.group,
        user_id=row.owner.user,
        user_name=user_name,
        key_id=row.owner.key,
        dialect=row.dialect,
        method="POST",
        route=row.endpoint,
        model=row.model,
        upstream=row.upstream,
        decision="cancelled" if row.status == _CLIENT_GONE else "allowed",
        status=row.status,
        error="gateway_ended" if row.estimated and row.status == 500 else "",
        ran=True,
        prompt_tokens=used.prompt_tokens,
        cached_tokens=used.cached_tokens,
        completion_tokens=used.completion_tokens,
        reasoning_tokens=used.reasoning_tokens,
        images=row.images,
        credits_micro=row.credits,
        queue_us=0,
        first_token_us=None,
        duration_us=row.duration_us,
        address="",
        digest=None,
        level=AuditLevel.METADATA.value,
    )


@asynccontextmanager
async def _turn(folder: Path) -> AsyncIterator[None]:
    """One process of this machine at a time. Raises StoreUnavailable after some seconds."""
    descriptor = await asyncio.to_thread(_open, folder)
    try:
        for _ in range(_TURNS):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_TURN_S)
        else:
            raise StoreUnavailable("another gateway still adds audit records")
        yield
    finally:
        os.close(descriptor)


def _open(folder: Path) -> int:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(folder / "turn", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
