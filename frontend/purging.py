"""Empties the response cache in every gateway process, and says what it holds.

Each process keeps answers in its own memory, so a purge is an admin event that the others read
within two seconds. In Redis the answers are shared, and one purge is enough.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.change import Changes
from frontend.accounts.directory.events import Events
from frontend.background import in_background
from frontend.cache.answers import AnswerCache
from frontend.cache.memory import MemoryEntries
from frontend.domain.accounts import AdminEvent
from frontend.errors import StoreUnavailable
from frontend.store.records import Range

ACTION = "cache.purge"
_CHECK_S = 2.0


@dataclass(slots=True)
class Purging:
    """The cache of this process, and the events of all."""

    cache: AnswerCache
    changes: Changes
    _seen: str = ""

    async def facts(self) -> dict[str, Any]:
        """The settings, sizes and counts of this process's cache. Raises StoreUnavailable while
        Redis cannot be reached."""
        entries, figures = self.cache.entries, self.cache.figures
        local = isinstance(entries, MemoryEntries)
        return {
            "store": "memory" if local else "redis",
            **asdict(self.cache.policy),
            "groups": len(self.cache.rules),
            "entries": await entries.count(),
            "size_bytes": entries.size_bytes if isinstance(entries, MemoryEntries) else None,
            "max_bytes": entries.max_bytes if isinstance(entries, MemoryEntries) else None,
            "evictions": entries.evictions if isinstance(entries, MemoryEntries) else None,
            "hits": figures.hits,
            "misses": figures.misses,
            "bypasses": figures.bypasses,
            "stored": figures.stored,
            "too_large": figures.too_large,
            "damaged": figures.damaged,
            "failures": figures.failures,
        }

    async def purge(self, actor: Actor, owner: str, model: str) -> int:
        """Deletes entries here and in the other processes; returns how many were here. Raises
        StoreUnavailable while Redis or the database cannot be reached."""
        gone = await self.cache.entries.purge(owner, model)
        async with self.changes.begin(actor, ACTION) as change:
            change.note("cache", model or "all", owner=owner, model=model, deleted=gone)
        return gone

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follows the purges of other processes until the block ends, then closes the cache."""
        newest = await self._newest()
        self._seen = "" if newest is None else newest.id
        try:
            async with in_background(self._follow()):
                yield
        finally:
            await self.cache.entries.close()

    async def _follow(self) -> None:
        while isinstance(self.cache.entries, MemoryEntries):
            await asyncio.sleep(_CHECK_S)
            await self.check()

    async def check(self) -> None:
        """Does what the newest purge of any process did."""
        event = await self._newest()
        if event is None or event.id == self._seen:
            return
        # several in two seconds: all of them at once
        several = await self._count_since(self._seen) > 1
        self._seen = event.id
        owner = "" if several else str(event.details.get("owner", ""))
        model = "" if several else str(event.details.get("model", ""))
        await self.cache.entries.purge(owner, model)

    async def _newest(self) -> AdminEvent | None:
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            newest = await Events(self.changes).page(Range(1, newest=True), action=ACTION)
            return newest[0] if newest else None
        return None

    async def _count_since(self, seen: str) -> int:
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            return len(await Events(self.changes).page(Range(2, seen), action=ACTION))
        return 2
