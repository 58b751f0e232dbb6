"""The response cache: finds and stores answers as the policy of the caller's group allows.

It never fails a request: if its store does not answer, there is no entry. An entry is only returned
to its owner and for its version of a model.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from frontend.cache.entries import Sealer
from frontend.cache.key import key_of, owner_of
from frontend.cache.memory import MemoryEntries
from frontend.domain.caching import CacheAsk, CachePolicy
from frontend.domain.generation import Generation
from frontend.domain.identity import Caller
from frontend.domain.images import ImageRequest
from frontend.domain.vectors import Embedding, Pairs
from frontend.errors import StoreUnavailable

Work = Generation | Embedding | Pairs | ImageRequest
_AGAIN_S = 5.0
_QUIET_S = 60.0
_log = logging.getLogger(__name__)


class Entries(Protocol):
    """Where entries are kept. Its methods raise StoreUnavailable while Redis cannot be reached."""

    async def get(self, owner: str, model: str, key: bytes) -> bytes | None:
        """An entry that is still valid."""
        ...

    async def put(self, owner: str, model: str, key: bytes, entry: bytes, ttl_s: int) -> None:
        """Stores an entry."""
        ...

    async def purge(self, owner: str = "", model: str = "") -> int:
        """Deletes entries; returns their number."""
        ...

    async def count(self) -> int:
        """How many there are."""
        ...

    async def close(self) -> None:
        """Closes what is open."""
        ...


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one answer. `stores`: whether a new answer is stored."""

    owner: str
    model: str
    key: bytes
    ttl_s: int
    price: float
    reads: bool = True
    stores: bool = True
    max_age_s: int | None = None


@dataclass(slots=True)
class Figures:
    """The statistics of the cache in this process."""

    hits: int = 0
    misses: int = 0
    bypasses: int = 0
    stored: int = 0
    too_large: int = 0
    damaged: int = 0
    failures: int = 0


@dataclass(slots=True)
class AnswerCache:
    """`rules` are those of groups by id. An answer larger than `max_entry_bytes` is not kept."""

    entries: Entries
    policy: CachePolicy
    rules: Mapping[str, CachePolicy] = field(default_factory=dict)
    sealer: Sealer = field(default_factory=Sealer)
    max_entry_bytes: int = 2**20
    figures: Figures = field(default_factory=Figures)
    _reported_at_s: float = -1e9
    _away_until_s: float = -1e9

    @property
    def is_local(self) -> bool:
        """Whether the entries are only in this process's memory."""
        return isinstance(self.entries, MemoryEntries)

    def policy_of(self, caller: Caller) -> CachePolicy:
        """The policy of the caller's group."""
        return self.rules.get(caller.group, self.policy)

    def slot(
        self, caller: Caller, ask: CacheAsk, model: tuple[str, str], work: Work
    ) -> Slot | None:
        """Where the answer is or will be; None where the cache is not used. `model`: its name and
        its version."""
        policy = self.policy_of(caller)
        owner = owner_of(caller, policy.scope)
        wanted = ask.use or (policy.mode == "deterministic" and is_determined(work))
        if policy.mode == "off" or not owner or not wanted or not (ask.read or ask.store):
            return None
        name, revision = model
        ttl_s = policy.ttl_s if ask.ttl_s is None else min(ask.ttl_s, policy.ttl_s)
        key = key_of(owner, f"{name}\0{revision}", work)
        return Slot(owner, name, key, ttl_s, policy.price, ask.read, ask.store, ask.max_age_s)

    async def get(self, slot: Slot) -> bytes | None:
        """The stored content; None if there is none."""
        entry = None
        if self._is_away:
            return None
        with self._failing():
            entry = await self.entries.get(slot.owner, slot.model, slot.key)
        if entry is None:
            return None
        opened = self.sealer.open(slot.key, entry)
        if opened is None:
            self.spoil()
            return None
        content, at_us = opened
        # a clock that went backwards makes an entry young, never old
        if slot.max_age_s is not None and time.time_ns() // 1000 - at_us > slot.max_age_s * 1e6:
            return None
        return content

    def spoil(self) -> None:
        """Counts an entry that could not be read."""
        self.figures.damaged += 1

    async def put(self, slot: Slot, content: bytes) -> None:
        """Stores a content."""
        if not slot.stores or slot.ttl_s <= 0 or self._is_away:
            return
        if len(content) > self.max_entry_bytes:
            self.figures.too_large += 1
            return
        entry = self.sealer.seal(slot.key, content, time.time_ns() // 1000)
        with self._failing():
            await self.entries.put(slot.owner, slot.model, slot.key, entry, slot.ttl_s)
            self.figures.stored += 1

    @property
    def _is_away(self) -> bool:
        """Whether the store failed a moment ago: not every request waits for it to fail again."""
        return time.monotonic() < self._away_until_s

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except StoreUnavailable as error:
            self.figures.failures += 1
            self._away_until_s = time.monotonic() + _AGAIN_S
            if time.monotonic() - self._reported_at_s > _QUIET_S:
                self._reported_at_s = time.monotonic()
                _log.warning("the response cache is not available: %s", error.reason)


def is_determined(work: Work) -> bool:
    """Whether the request is deterministic: equal requests have equal answers."""
    if isinstance(work, ImageRequest):
        return work.seed is not None
    if not isinstance(work, Generation):
        return True
    return work.sampling.temperature == 0 or work.sampling.seed is not None
