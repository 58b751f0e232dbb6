"""Identifiers of what the gateway stores: ULIDs, 26 lowercase characters in order of creation.

48 bits of milliseconds and 80 random bits, https://github.com/ulid/spec. An id is never used again:
what is deleted and created again under the same name has another one.
"""

import secrets
import time

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [one + other for one in _DIGITS for other in _DIGITS]
_SHIFTS = range(120, -1, -10)
"""Of the 13 pairs: a request has three ids, and one digit at a time takes twice as long."""


def new_id() -> str:
    """An id that is not in use anywhere."""
    return _encode(time.time_ns() // 1_000_000 << 80 | secrets.randbits(80))


def first_id(at_s: float) -> str:
    """The smallest id of a moment, in seconds since 1970."""
    return _encode(int(at_s * 1000) << 80)


def _encode(value: int) -> str:
    return "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])
