"""How many values a JSON text holds, counted as its bytes arrive and before it is parsed.

Parsing takes up to a microsecond per value and holds up everybody, so the count is what bounds it.
"""


class ValueCount:
    """Counts commas, colons and opening brackets outside of strings. Takes UTF-8 JSON in parts."""

    def __init__(self) -> None:
        self.total = 0
        self._in_string = False
        self._escaped = False

    def add(self, part: bytes) -> None:
        """Takes the next part. Text that is not JSON is counted somehow."""
        if self._escaped:
            part = part[1:]
        self._escaped = False
        if b"\\" in part:
            part = part.replace(b"\\\\", b"")
            self._escaped = part.endswith(b"\\")
            part = part.replace(b'\\"', b"")
        pieces = part.split(b'"')
        outside = b"".join(pieces[1 if self._in_string else 0 :: 2])
        self._in_string ^= len(pieces) % 2 == 0
        self.total += sum(map(outside.count, (b",", b":", b"[", b"{")))
