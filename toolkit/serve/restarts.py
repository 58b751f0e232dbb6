"""Counts how often a process was restarted lately, so that one that fails again is given up."""

import time
from collections.abc import Callable

MAX_RESTARTS, WINDOW_S = 5, 600.0


class Restarts:
    """The restarts of one process in the last `WINDOW_S` seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at: list[float] = []

    def add(self) -> int:
        """Notes a restart. Returns how many there were in the window, with this one."""
        now = self._clock()
        self._at = [at for at in self._at if now - at < WINDOW_S] + [now]
        return len(self._at)
