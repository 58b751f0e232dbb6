"""Sends the latest value of one producer to many viewers, without a queue for each.

The producer runs while somebody views. A viewer that is slow misses values in between and gets the
latest one next, so memory does not grow with viewers or with time. It does not know what is sent.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from frontend.errors import Overloaded

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Feed(Generic[T]):
    """Calls `make` every `interval_s` seconds, which must be quick: it runs in the event loop."""

    def __init__(
        self, make: Callable[[], T], interval_s: float, most: int = 256, most_own: int = 8
    ) -> None:
        self._make = make
        self._interval_s = interval_s
        self._most, self._most_own = most, most_own
        self._viewers: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._next = asyncio.Event()
        self._latest: T | None = None
        self._failure: Exception | None = None

    @property
    def viewers(self) -> int:
        """How many view now."""
        return self._viewers.total()

    @contextmanager
    def viewing(self, viewer: str) -> Iterator["View[T]"]:
        """Counts a viewer until the block ends. Raises Overloaded beyond the limits."""
        if self.viewers >= self._most or self._viewers[viewer] >= self._most_own:
            raise Overloaded(
                f"too many live views are open: at most {self._most_own} of one user and"
                f" {self._most} of all; close one and try again"
            )
        self._viewers[viewer] += 1
        if self._task is None:
            self._latest = self._failure = None
            self._task = asyncio.create_task(self._produce())
        try:
            yield View(self)
        finally:
            self._viewers[viewer] -= 1
            self._viewers += Counter()  # removes those at 0
            if not self._viewers and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _produce(self) -> None:
        while self._failure is None:
            try:
                self._latest = self._make()
            except Exception as error:  # every viewer gets it, whatever it is
                _log.exception("a live view failed")
                self._failure = error
            ready, self._next = self._next, asyncio.Event()
            ready.set()
            await asyncio.sleep(self._interval_s)
        self._task = None  # the next viewer starts another one


class View(Generic[T]):
    """The values that one viewer has received."""

    def __init__(self, feed: Feed[T]) -> None:
        self._feed = feed
        self._seen: T | None = None

    async def next(self) -> T:
        """The present value first, then each later one. Raises what the producer raised."""
        feed = self._feed
        while (latest := feed._latest) is None or latest is self._seen:
            if feed._failure is not None:
                raise feed._failure
            await feed._next.wait()
        self._seen = latest
        return latest
