"""Counts failed authentications, per address and per public id of a key. Pure.

It decides how a failed attempt is answered, and how often unknown keys are looked up for an address
with many failures. Known valid keys are not delayed, so their owners cannot be locked out. Memory
is bounded: the oldest entries are removed first.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address

_MAX_ENTRIES = 16_384
_LOOKUPS_PER_S = 100


@dataclass(slots=True)
class Throttle:
    """At most `limit` failures in a row; one more is allowed every `interval_s` seconds (GCRA)."""

    limit: int = 20
    interval_s: float = 3.0
    clock: Callable[[], float] = time.monotonic
    _due_s: OrderedDict[str, float] = field(default_factory=OrderedDict)

    def fail(self, subjects: Iterable[str]) -> float:
        """Counts a failure of all subjects; seconds until the next attempt, 0 within the limit."""
        return max(self._count(subject, self.limit, self.interval_s) for subject in subjects)

    def reserve(self, subject: str, max_wait_s: float) -> float:
        """Counts a failure that may wait for its turn; the seconds until then.

        It is not counted where they are more than `max_wait_s`.
        """
        return self._count(subject, self.limit, self.interval_s, max_wait_s)

    def forgive(self, subject: str) -> None:
        """Removes one failure: an attempt that was counted before the check succeeded."""
        if subject in self._due_s:
            self._due_s[subject] -= self.interval_s

    def is_over(self, subject: str) -> bool:
        """Whether the next failure of a subject is beyond the limit."""
        return self._wait(self._due_s.get(subject, 0.0), self.limit, self.interval_s) > 0

    def try_unknown(self, subject: str) -> bool:
        """Whether a key that is not known may be looked up for a subject beyond the limit."""
        return self._count(f"lookup {subject}", _LOOKUPS_PER_S, 1 / _LOOKUPS_PER_S) == 0

    def _count(self, subject: str, limit: int, interval_s: float, max_wait_s: float = 0.0) -> float:
        # taken out and put back: the order is that of the last failures
        due_s = max(self._due_s.pop(subject, 0.0), self.clock())
        wait_s = self._wait(due_s, limit, interval_s)
        # an attempt beyond the limit is not counted, so that waiting ends
        self._due_s[subject] = due_s + (0 if wait_s > max_wait_s else interval_s)
        if len(self._due_s) > _MAX_ENTRIES:
            self._due_s.popitem(last=False)
        return wait_s

    def _wait(self, due_s: float, limit: int, interval_s: float) -> float:
        return max(0.0, due_s - self.clock() - (limit - 1) * interval_s)


def subject_of(address: str) -> str:
    """The subject that failures of an address count for: the /64 network of an IPv6 address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else f"{int(parsed) >> 64:x}/64"
    return str(parsed)
