"""How many requests wait in Triton's own queues, from its statistics. Pure.

Triton counts for how long requests have waited. By Little's law (Little 1961) what they waited in a
second, added up, is how many waited on average.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Load:
    """One server's queues between two readings; `clock` gives seconds."""

    clock: Callable[[], float] = time.monotonic
    _waited_ns: int | None = None
    _at_s: float = 0.0

    def waiting(self, waited_ns: int | None) -> float | None:
        """Requests that waited on average since the last reading; None where it is not known.

        `waited_ns`: what all requests have waited in queues since the server began.
        """
        before_ns, before_s = self._waited_ns, self._at_s
        self._waited_ns, self._at_s = waited_ns, self.clock()
        passed_s = self._at_s - before_s
        # the sum is smaller when a model was unloaded or the server began again
        if waited_ns is None or before_ns is None or waited_ns < before_ns or passed_s <= 0:
            return None
        return (waited_ns - before_ns) / 1e9 / passed_s
