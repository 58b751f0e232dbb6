"""Turns at something that only a few can use at once: in order, a fair share for each caller.

Pure asyncio. Nobody holds more than half of the places, or fills more than half of the queue.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from frontend.errors import Overloaded, RateLimited


class Turns:
    """`count` places, and at most `max_waiting` that have or want one."""

    def __init__(self, count: int, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        # of one place, half would be none
        self._share = max(1, count // 2)
        self._places = asyncio.Semaphore(count)
        self._own_places: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(self._share)
        )
        self._calls: Counter[str] = Counter()

    @asynccontextmanager
    async def taken(self, caller: str) -> AsyncIterator[None]:
        """The block has a place. Raises RateLimited when the caller has too many waiting,
        Overloaded when the queue is full."""
        if self._calls[caller] >= max(1, self._max_waiting // 2):
            raise RateLimited(
                "too many of your requests are waiting for the same kind of work; try again later"
            )
        if self._calls.total() >= self._max_waiting:
            raise Overloaded(
                "too many requests are waiting for the same kind of work; try again later"
            )
        self._calls[caller] += 1
        try:
            # its own place first: a waiting caller must not occupy one of the shared places
            async with self._own_places[caller], self._places:
                yield
        finally:
            self._calls[caller] -= 1
            if not self._calls[caller]:
                # names come from strangers, so what is empty goes
                del self._calls[caller], self._own_places[caller]
