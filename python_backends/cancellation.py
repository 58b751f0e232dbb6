"""Running requests by id, so that another request can cancel them.

A cancel request that arrives before its request is kept for a while, bounded in time and
number. It is used from one thread only (an engine's loop) and does not depend on the engine.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

MEMORY_S = 30.0
"""How long a cancel waits for its request: a gateway sends both within milliseconds."""
MEMORY_COUNT = 10_000
"""At most this many early cancels are remembered, the oldest go first (about 2 MB)."""


class Cancellations:
    """Running requests by id. Requests with the same id are cancelled together."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: dict[str, list[Callable[[], None]]] = {}
        self._early: OrderedDict[str, float] = OrderedDict()

    def start(self, request_id: str, stop: Callable[[], None]) -> bool:
        """Adds a running request. Returns False, and adds nothing, when it was already
        cancelled."""
        self._forget()
        # a request without an id cannot be cancelled; all of them share the key ""
        if not request_id:
            return True
        if self._early.pop(request_id, None) is not None:
            return False
        self._running.setdefault(request_id, []).append(stop)
        return True

    def end(self, request_id: str, stop: Callable[[], None]) -> None:
        """Removes a finished request."""
        stops = self._running.get(request_id, [])
        if stop in stops:
            stops.remove(stop)
        if not stops:
            self._running.pop(request_id, None)

    def cancel(self, request_id: str) -> None:
        """Cancels the requests with this id, also those that start within `MEMORY_S`."""
        self._forget()
        if request_id in self._running:
            # a copy: `stop` may end the request, which changes the list
            for stop in tuple(self._running[request_id]):
                stop()
        elif request_id:
            self._early[request_id] = self._clock() + MEMORY_S
            # a repeated cancel expires later; `_forget` relies on the order of expiry
            self._early.move_to_end(request_id)

    def _forget(self) -> None:
        now = self._clock()
        while self._early:
            request_id, expires = next(iter(self._early.items()))
            if expires > now and len(self._early) <= MEMORY_COUNT:
                return
            del self._early[request_id]
