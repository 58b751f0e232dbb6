"""Bytes of request bodies in memory, from their arrival to the end of their answers.

Each body's first `FREE_BYTES` are not counted: whatever one caller uploads, the usual request of
another is taken.
"""

from collections import Counter
from dataclasses import dataclass, field

FREE_BYTES = 64 * 1024


@dataclass(slots=True)
class Bodies:
    """All of one server; one address gets at most half of `limit_bytes`."""

    limit_bytes: int
    total_bytes: int = 0
    _held: Counter[str] = field(default_factory=Counter)

    def hold(self, address: str, size_bytes: int) -> bool:
        """Whether there is room; if so it is taken."""
        mine = self._held[address] + size_bytes
        if self.total_bytes + size_bytes > self.limit_bytes or mine > self.limit_bytes // 2:
            return False
        self._held[address] = mine
        self.total_bytes += size_bytes
        return True

    def release(self, address: str, size_bytes: int) -> None:
        """Gives room back."""
        self.total_bytes -= size_bytes
        self._held[address] -= size_bytes
        if not self._held[address]:
            del self._held[address]
