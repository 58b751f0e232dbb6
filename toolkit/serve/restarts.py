"""Counts how often a process was restarted lately."""

import time
from collections.abc import Callable


class Restarts:
    """The restarts of one process in the last `window_s` seconds."""

    def __init__(self, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._window_s = window_s
        self._clock = clock
        self._at: list[float] = []

    def add(self) -> int:
        """Notes a restart. Returns how many there were in the window, with this one."""
        now = self._clock()
        self._at = [at for at in self._at if now - at < self._window_s] + [now]
        return len(self._at)
