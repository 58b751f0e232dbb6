"""Identifiers of what the gateway stores: ULIDs, 26 lowercase characters in order of creation.

48 bits of milliseconds and 80 random bits, https://github.com/ulid/spec. An id is never used again:
what is deleted and created again under the same name has another one.
"""

import secrets
import time

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26


def new_id() -> str:
    """An id that is not in use anywhere."""
    return _encode(time.time_ns() // 1_000_000 << 80 | secrets.randbits(80))


def first_id(at_s: float) -> str:
    """The smallest id of a moment, in seconds since 1970."""
    return _encode(int(at_s * 1000) << 80)


def _encode(value: int) -> str:
    return "".join(_DIGITS[value >> 5 * place & 31] for place in reversed(range(_LENGTH)))
