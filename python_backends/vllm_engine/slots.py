"""A limited number of slots: no caller gets more than half, and the caller with the fewest is next.

Used in one asyncio loop.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from python_backends.errors import Unavailable

MAX_WAITING = 256


class CallerSlots:
    """`count` slots. A caller holds a slot from `acquire` to `release`."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._most = -(-count // 2)
        self._held: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    def may(self, caller: str) -> bool:
        """Whether a slot is free and the caller holds less than half of all slots."""
        return self._free > 0 and self._held[caller] < self._most

    async def acquire(self, caller: str) -> None:
        """Waits for a slot. Raises Unavailable when too many requests wait."""
        if self.may(caller):
            self._take(caller)
            return
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("too many requests are waiting for their grammar; try again soon")
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((caller, place))
        try:
            await place
        except asyncio.CancelledError:
            # the slot was given in the same moment as the wait was cancelled: it goes back
            if place.done() and not place.cancelled():
                self.release(caller)
            self._waiting = [one for one in self._waiting if one[1] is not place]
            raise

    def release(self, caller: str) -> None:
        """Returns a slot and gives it to a waiting caller."""
        self._free += 1
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        # cancelled waits are still in the list until their task runs
        self._waiting = [one for one in self._waiting if not one[1].done()]
        allowed = [one for one in self._waiting if self.may(one[0])]
        if allowed:
            chosen = min(allowed, key=lambda one: self._held[one[0]])  # the first of equals
            self._waiting.remove(chosen)
            self._take(chosen[0])
            chosen[1].set_result(None)

    @asynccontextmanager
    async def held(self, caller: str) -> AsyncIterator[None]:
        await self.acquire(caller)
        try:
            yield
        finally:
            self.release(caller)

    def _take(self, caller: str) -> None:
        self._free -= 1
        self._held[caller] += 1
