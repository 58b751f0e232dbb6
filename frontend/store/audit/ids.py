"""Ids of records. The upper bits are the time, so that ids sort by time."""

SLOTS = 4096
MAX_ID = 2**63 - 1


def first_id(at_us: int) -> int:
    """The lowest id of a time, in microseconds since 1970."""
    return max(0, min(at_us * SLOTS, MAX_ID))


def moment_of(record_id: int) -> int:
    """The time of a record, in microseconds since 1970."""
    return record_id // SLOTS
