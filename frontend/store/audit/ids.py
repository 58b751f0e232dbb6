"""Ids of records: the moment in the upper bits, so their order is that of time."""

SLOTS = 4096
MAX_ID = 2**63 - 1


def first_id(at_us: int) -> int:
    """The lowest id of a moment."""
    return max(0, min(at_us * SLOTS, MAX_ID))


def moment_of(record_id: int) -> int:
    """The moment of a record, in microseconds since 1970."""
    return record_id // SLOTS
