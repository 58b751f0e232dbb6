"""How many requests may be in Triton at once, and how many may wait for their turn.

First come, first served. Both numbers are bounds on memory: nothing waits beyond them.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from frontend.errors import BackendTimeout, Overloaded


@dataclass(slots=True)
class Admission:
    """Slots for running requests, and a bounded line before them."""

    max_running: int
    max_waiting: int
    draining: bool = False
    _slots: asyncio.Semaphore = field(init=False)
    _running: int = 0
    _waiting: int = 0

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.max_running)

    @property
    def running(self) -> int:
        """Requests that hold a slot."""
        return self._running

    @property
    def idle(self) -> bool:
        """Whether nothing runs or waits."""
        return not self._running and not self._waiting

    @asynccontextmanager
    async def slot(self, timeout_s: float) -> AsyncIterator[None]:
        """Holds a slot. Raises Overloaded at once when the line is full or the gateway drains."""
        if self.draining:
            raise Overloaded("the server is shutting down; send the request again", code="draining")
        if self._slots.locked():
            await self._wait(timeout_s)
        else:
            await self._slots.acquire()
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._slots.release()

    async def _wait(self, timeout_s: float) -> None:
        if self._waiting >= self.max_waiting:
            raise Overloaded(f"{self._waiting} requests are waiting already; send it again later")
        self._waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                await self._slots.acquire()
        except TimeoutError:
            raise BackendTimeout("the request waited longer than the server allows") from None
        finally:
            self._waiting -= 1
