"""Entries in the memory of this process, limited in bytes; least recently used ones go first."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

_OVERHEAD = 256
"""Bytes of a key, an entry and their place in the dictionary, besides the content."""

Place = tuple[str, str, bytes]
"""The owner, the model and the key."""


@dataclass(frozen=True, slots=True)
class _Kept:
    entry: bytes
    until_s: float

    @property
    def size_bytes(self) -> int:
        return len(self.entry) + _OVERHEAD


@dataclass(slots=True)
class MemoryEntries:
    """Entries in memory. The methods do not wait; they are coroutines like those of Redis."""

    max_bytes: int
    clock: Callable[[], float] = time.monotonic
    size_bytes: int = 0
    evictions: int = 0
    _kept: "OrderedDict[Place, _Kept]" = field(default_factory=OrderedDict)

    async def get(self, owner: str, model: str, key: bytes) -> bytes | None:
        """An entry that is still valid."""
        place = owner, model, key
        if (one := self._kept.get(place)) is None:
            return None
        if one.until_s <= self.clock():
            self._drop(place)
            return None
        self._kept.move_to_end(place)
        return one.entry

    async def put(self, owner: str, model: str, key: bytes, entry: bytes, ttl_s: int) -> None:
        """Stores an entry, and removes others if necessary."""
        place = owner, model, key
        if place in self._kept:
            self._drop(place)
        one = _Kept(entry, self.clock() + ttl_s)
        if one.size_bytes > self.max_bytes:
            return
        while self.size_bytes + one.size_bytes > self.max_bytes:
            self._drop(next(iter(self._kept)))
            self.evictions += 1
        self._kept[place] = one
        self.size_bytes += one.size_bytes

    async def purge(self, owner: str = "", model: str = "") -> int:
        """Deletes the entries of an owner, of a model, of both, or all. How many there were."""
        gone = [
            place for place in self._kept if owner in ("", place[0]) and model in ("", place[1])
        ]
        for place in gone:
            self._drop(place)
        return len(gone)

    async def count(self) -> int:
        """How many entries there are."""
        return len(self._kept)

    def _drop(self, place: Place) -> None:
        self.size_bytes -= self._kept.pop(place).size_bytes

    async def close(self) -> None:
        """Does nothing: no connection is open."""
