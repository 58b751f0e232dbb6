"""Finds callers by their keys in the database, with a bounded cache.

An entry is valid until the database's number of changes increases. The number is read every
`CHECK_S`, so a revoked key is refused everywhere within a second. While the database cannot be
reached, keys that were confirmed less than `STALE_S` ago are still accepted.
"""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from frontend.accounts.credentials import Credential, is_same
from frontend.accounts.scopes import make_scope
from frontend.accounts.throttle import Throttle
from frontend.background import in_background
from frontend.domain.audit import AuditLevel, AuditPolicy
from frontend.domain.identity import Caller, Permission, Role
from frontend.domain.labels import make_rules
from frontend.errors import StoreUnavailable, Unauthorized
from frontend.store import accounts as store
from frontend.store.accounts import Owned
from frontend.store.database import Database
from frontend.store.retention import now_us

CHECK_S = 0.5
STALE_S = 60.0
_FLUSH_S = 10.0
_TIMEOUT_S = 3.0
_MAX_ENTRIES = 20_000
_MAX_READS = 8
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Entry:
    """What the database said about a public id; `owned` of None: there is no such key."""

    owned: Owned | None
    caller: Caller | None
    number: int
    confirmed_s: float


@dataclass(slots=True)
class Callers:
    """The keys of one database."""

    database: Database
    now_us: Callable[[], int] = now_us
    clock: Callable[[], float] = time.monotonic
    _known: OrderedDict[str, _Entry] = field(default_factory=OrderedDict)
    _unknown: OrderedDict[str, _Entry] = field(default_factory=OrderedDict)
    _reading: dict[str, asyncio.Task[_Entry]] = field(default_factory=dict)
    _reads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MAX_READS))
    _again: Throttle = field(default_factory=lambda: Throttle(5, 1.0))
    _used_at_us: dict[str, int] = field(default_factory=dict)
    _number: int = -1
    _confirmed_s: float = -1e9

    def is_known(self, credential: Credential) -> bool:
        """Whether the caller can be found without reading the database."""
        entry = self._entry(credential.public_id)
        return entry is not None and self._is_current(entry)

    async def find(self, credential: Credential) -> Caller | None:
        """The owner of a key; None if there is none.

        Raises Unauthorized for a key that has expired or is disabled, and StoreUnavailable while
        the database cannot be reached.
        """
        entry = self._entry(credential.public_id)
        if entry is None or not self._is_current(entry):
            entry = await self._read(credential.public_id, entry)
        now_us = self.now_us()
        matches = self._matches(entry, credential, now_us)
        # a wrong secret of an existing key costs a read: five, then one per second
        if not matches and entry.owned and not self._again.fail([credential.public_id]):
            # perhaps it was rotated a moment ago, and the client has the new key already
            entry = await self._read(credential.public_id, entry)
            matches = self._matches(entry, credential, now_us)
        if not matches:
            return None
        self._used_at_us[credential.public_id] = now_us
        return entry.caller

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Follows changes, and stores when keys were used, until the block ends."""
        try:
            async with in_background(self._follow(), self._flush_often()):
                yield
        finally:
            await self.flush()

    async def check(self) -> None:
        """Reads the number of changes. Raises StoreUnavailable while the database cannot be
        reached."""
        started_s = self.clock()
        async with asyncio.timeout(_TIMEOUT_S), self.database.connect() as connection:
            self._number = await store.change_number(connection)
        # from before the read: an answer may be as old as its question
        self._confirmed_s = started_s

    async def flush(self) -> None:
        """Stores when keys were last used; what cannot be stored is tried again later."""
        used, self._used_at_us = self._used_at_us, {}
        if not used:
            return
        try:
            async with self.database.begin() as connection:
                await store.note_use(connection, used)
        except StoreUnavailable:
            # what was noted meanwhile is newer
            self._used_at_us = used | self._used_at_us

    def _entry(self, public_id: str) -> _Entry | None:
        return self._known.get(public_id) or self._unknown.get(public_id)

    def _is_current(self, entry: _Entry) -> bool:
        if entry.number != self._number or self.clock() - self._confirmed_s > STALE_S:
            return False
        # an unchanged number confirms all entries that were read with it
        entry.confirmed_s = max(entry.confirmed_s, self._confirmed_s)
        return True

    def _matches(self, entry: _Entry, credential: Credential, now_us: int) -> bool:
        """Whether it is the key. Raises Unauthorized, with the reason only for its owner."""
        if (owned := entry.owned) is None:
            return False
        # all are always compared, so that the time does not depend on which one it is
        is_current = is_same(owned.digest, credential.digest)
        is_previous = is_same(owned.previous_digest or bytes(32), credential.digest)
        is_previous = is_previous and (owned.previous_ends_at_us or 0) > now_us
        for digest, ends_us in owned.earlier_digests or ():
            is_earlier = is_same(bytes.fromhex(digest), credential.digest)
            is_previous = is_previous or (is_earlier and ends_us > now_us)
        if not (is_current or is_previous):
            return False
        if owned.expires_at_us is not None and owned.expires_at_us <= now_us:
            raise Unauthorized("the API key has expired")
        if not owned.enabled:
            raise Unauthorized("the API key or its account is disabled")
        return True

    async def _read(self, public_id: str, entry: _Entry | None) -> _Entry:
        """From the database, once however many requests ask; an old entry while that is away."""
        task = self._reading.get(public_id)
        if task is None:
            task = self._reading[public_id] = asyncio.create_task(self._load(public_id))
            task.add_done_callback(lambda done: self._read_done(public_id, done))
        try:
            return await asyncio.shield(task)  # a caller that goes away must not end it for others
        except StoreUnavailable:
            if entry is None or self.clock() - entry.confirmed_s > STALE_S:
                raise
            return entry

    def _read_done(self, public_id: str, task: "asyncio.Task[_Entry]") -> None:
        self._reading.pop(public_id, None)
        if not task.cancelled():
            task.exception()  # it was raised to everyone who waits, if anyone still waits

    async def _load(self, public_id: str) -> _Entry:
        started_s = self.clock()
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._reads, self.database.connect() as rows:
                # the number first: a change in between makes the entry outdated, never the reverse
                number = await store.change_number(rows)
                owned = await store.find_owned(rows, public_id)
        except TimeoutError:
            raise StoreUnavailable("reading a key took too long") from None
        self._number, self._confirmed_s = number, max(started_s, self._confirmed_s)
        caller = None if owned is None else caller_of(public_id, owned)
        entry = _Entry(owned, caller, number, started_s)
        keep, drop = self._known, self._unknown
        if owned is None:  # apart, so that made-up keys do not displace real ones
            keep, drop = drop, keep
        drop.pop(public_id, None)
        keep[public_id] = entry
        keep.move_to_end(public_id)
        if len(keep) > _MAX_ENTRIES:
            keep.popitem(last=False)
        return entry

    async def _follow(self) -> None:
        reachable = True
        while True:
            try:
                await self.check()
                reachable = True
            except (StoreUnavailable, TimeoutError) as error:
                if reachable:
                    reason = getattr(error, "reason", "it does not answer")
                    _log.error(
                        "API keys cannot be read; keys that were read before stay valid for a"
                        " minute: %s",
                        reason,
                    )
                reachable = False
            await asyncio.sleep(CHECK_S)

    async def _flush_often(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            await self.flush()


def caller_of(public_id: str, owned: Owned) -> Caller:
    """The owner of a key, or of a session if `public_id` is ""."""
    known = {permission.value: permission for permission in Permission}
    # a permission of a newer release is not granted by this one
    granted = frozenset(known[name] for name in owned.permissions if name in known)
    return Caller(
        owned.user_id,
        owned.user_name,
        Role(owned.role, owned.weight, granted | {Permission.PUBLIC}),
        public_id,
        owned.group_id,
        owned.organisation_id,
        make_scope(owned.models, owned.endpoints, owned.networks),
        owned.expires_at_us,
        None if owned.audit is None else AuditPolicy(_level(owned.audit), bool(owned.audit_strict)),
        owned.group_weight,
        make_rules(owned.upstreams),
    )


def _level(name: str) -> AuditLevel:
    # the level of a newer release is not known here: as much as this one can keep
    return AuditLevel(name) if name in [*AuditLevel] else AuditLevel.FULL
