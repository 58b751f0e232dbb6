"""Bytes of memory that requests share: each takes what it will hold, and waits while there is none.

Pure asyncio. A caller never has more than half of them, so one alone cannot keep the others out.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

_Waiter = tuple[str, int, "asyncio.Future[None]"]


@dataclass(slots=True)
class Budget:
    """`capacity` bytes. Who holds nothing yet may always have what it asks for, once it is free."""

    capacity: int
    _used: Counter[str] = field(default_factory=Counter)
    _waiting: list[_Waiter] = field(default_factory=list)

    async def take(self, caller: str, size: int) -> "Hold":
        """Waits for `size` bytes; `release` the hold."""
        if not self._fits(caller, size):
            await self._wait(caller, size)
        else:
            self._used[caller] += size
        return Hold(self, caller, size)

    def give(self, caller: str, size: int) -> None:
        """Takes bytes back (or, below 0, counts more), and lets in who fits now."""
        self._used[caller] -= size
        if not self._used[caller]:
            del self._used[caller]
        # not first in, first out: one large request would hold up all the small ones behind it
        for waiter in tuple(self._waiting):
            name, needed, turn = waiter
            if not turn.done() and self._fits(name, needed):
                self._waiting.remove(waiter)
                self._used[name] += needed
                turn.set_result(None)

    def _fits(self, caller: str, size: int) -> bool:
        own, all_of_them = self._used[caller], self._used.total()
        # a request above the bound still runs alone, instead of waiting forever
        return (own + size <= self.capacity // 2 or not own) and (
            all_of_them + size <= self.capacity or not all_of_them
        )

    async def _wait(self, caller: str, size: int) -> None:
        waiter = (caller, size, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        try:
            await waiter[2]
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            else:  # it was granted in the very moment in which its waiter gave up
                self.give(caller, size)
            raise


@dataclass(slots=True)
class Hold:
    """Bytes that one request has."""

    budget: Budget
    caller: str
    size: int

    def resize(self, size: int) -> None:
        """What it turned out to need; never waits."""
        # `give` with a negative size counts more: a holder that waited could deadlock itself
        difference, self.size = self.size - size, size
        self.budget.give(self.caller, difference)

    def release(self) -> None:
        """Gives all of it back."""
        self.resize(0)
