"""A budget of memory that requests share: each takes bytes, and waits until they are available.

Pure asyncio. A caller never has more than half of the bytes, so that one caller cannot block
others. At most `capacity` bytes of later requests overtake a large one.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class _Waiter:
    """Who waits for how much, and how many bytes went to others that came later."""

    caller: str
    size: int
    turn: "asyncio.Future[None]"
    passed: int = 0


@dataclass(slots=True)
class Budget:
    """`capacity` bytes. A caller without a hold always gets what it asks for, once it is free."""

    capacity: int
    _used: Counter[str] = field(default_factory=Counter)
    _waiting: list[_Waiter] = field(default_factory=list)

    async def take(self, caller: str, size: int) -> "Hold":
        """Waits for `size` bytes; `release` the hold."""
        if self._fits(caller, size) and not any(map(self._is_due, self._waiting)):
            self._grant(caller, size, self._waiting)
        else:
            await self._wait(caller, size)
        return Hold(self, caller, size)

    def give(self, caller: str, size: int) -> None:
        """Returns bytes (below 0: takes more), and grants waiting requests that fit now."""
        self._used[caller] -= size
        if not self._used[caller]:
            del self._used[caller]
        # not first in, first out: one large request would hold up all the small ones behind it
        earlier: list[_Waiter] = []
        for waiter in tuple(self._waiting):
            if waiter.turn.done():
                continue
            if self._fits(waiter.caller, waiter.size):
                self._waiting.remove(waiter)
                self._grant(waiter.caller, waiter.size, earlier)
                waiter.turn.set_result(None)
            elif self._is_due(waiter):
                return
            else:
                earlier.append(waiter)

    def _grant(self, caller: str, size: int, passed: list[_Waiter]) -> None:
        self._used[caller] += size
        for waiter in passed:
            waiter.passed += size

    def _is_due(self, waiter: _Waiter) -> bool:
        """Whether nobody may pass it any more: small ones could keep a large one out forever.

        One that waits for its own caller's bytes holds up nobody.
        """
        return waiter.passed >= self.capacity and self._has_share(waiter.caller, waiter.size)

    def _fits(self, caller: str, size: int) -> bool:
        all_of_them = self._used.total()
        # a request above the bound still runs alone, instead of waiting forever
        return self._has_share(caller, size) and (
            all_of_them + size <= self.capacity or not all_of_them
        )

    def _has_share(self, caller: str, size: int) -> bool:
        own = self._used[caller]
        return own + size <= self.capacity // 2 or not own

    async def _wait(self, caller: str, size: int) -> None:
        waiter = _Waiter(caller, size, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
                # it may have held up others
                self.give(caller, 0)
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
        """Changes the hold to the real size; never waits."""
        # `give` with a negative size counts more: a holder that waited could deadlock itself
        difference, self.size = self.size - size, size
        self.budget.give(self.caller, difference)

    def release(self) -> None:
        """Returns all bytes."""
        self.resize(0)
