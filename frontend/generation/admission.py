"""How many requests may run at once, and how many may wait for a slot.

First come, first served, one future per waiter. Both numbers are bounds on memory: nothing waits
beyond them. A draining gateway admits nothing new.

Background requests wait in a queue of their own, which its callers bound. They run while nothing
else does; beside other requests only one of them runs, so that it gets on without being felt.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from frontend.errors import BackendTimeout, Overloaded


@dataclass(slots=True)
class Admission:
    """Slots for running requests, and a bounded queue before them."""

    max_running: int
    max_waiting: int
    draining: bool = False
    _running: int = 0
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    _background: int = 0
    _background_waiting: deque[asyncio.Future[None]] = field(default_factory=deque)

    @property
    def running(self) -> int:
        """Requests that hold a slot."""
        return self._running

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether nothing runs or waits, besides what can be done again later."""
        return self._running == self._background and not self._waiting

    @asynccontextmanager
    async def slot(self, timeout_s: float, *, background: bool = False) -> AsyncIterator[None]:
        """Holds a slot for the block. Raises as `acquire` does."""
        if background:
            await self._acquire_background(timeout_s)
        else:
            await self.acquire(timeout_s)
        try:
            yield
        finally:
            self._background -= background
            self.release()

    async def _acquire_background(self, timeout_s: float) -> None:
        if self.draining:
            raise shutting_down()
        if self._has_background_slot and not self._background_waiting:
            self._running += 1
            self._background += 1
            return
        await self._wait(timeout_s, self._background_waiting, background=True)

    @property
    def _has_background_slot(self) -> bool:
        alone = self._running == self._background
        return (
            not self._waiting
            and self._running < self.max_running
            and (alone or not self._background)
        )

    def drain(self) -> None:
        """Admits nothing new from now on; what waits in the background is refused."""
        self.draining = True
        _refuse(self._background_waiting)

    async def acquire(self, timeout_s: float) -> None:
        """Takes a slot; `release` it. Raises Overloaded immediately if the queue is full."""
        if self.draining:
            raise shutting_down()
        # a request that comes now is served after those that wait
        if self._running < self.max_running and not self._waiting:
            self._running += 1
            return
        if len(self._waiting) >= self.max_waiting:
            raise Overloaded(f"{self.max_waiting} requests are already waiting; try again later")
        await self._wait(timeout_s, self._waiting)

    def release(self) -> None:
        """Gives a slot back, to the first in the queue if there is one."""
        while self._waiting:
            first = self._waiting.popleft()
            if not first.done():
                # the slot changes hands, so the count stays
                first.set_result(None)
                return
        self._running -= 1
        while self._background_waiting and self._has_background_slot:
            first = self._background_waiting.popleft()
            if not first.done():
                self._running += 1
                self._background += 1
                first.set_result(None)

    def refuse_waiting(self) -> None:
        """Ends the wait of every request in the queue, for a server that is shutting down."""
        _refuse(self._waiting)

    async def _wait(
        self, timeout_s: float, queue: deque[asyncio.Future[None]], *, background: bool = False
    ) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except TimeoutError:
            self._leave(turn, queue, background=background)
            raise BackendTimeout("the request waited longer than the server allows") from None
        except asyncio.CancelledError:
            self._leave(turn, queue, background=background)
            raise

    def _leave(
        self, turn: asyncio.Future[None], queue: deque[asyncio.Future[None]], *, background: bool
    ) -> None:
        """A slot may have been granted in the very moment in which its waiter gave up."""
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self._background -= background
            self.release()
        elif turn in queue:
            queue.remove(turn)


def _refuse(queue: deque[asyncio.Future[None]]) -> None:
    for waiter in queue:
        if not waiter.done():
            waiter.set_exception(shutting_down())
    queue.clear()


def shutting_down() -> Overloaded:
    """The error for a request that a draining server cannot accept or finish."""
    return Overloaded("the server is shutting down; send the request again", code="draining")
