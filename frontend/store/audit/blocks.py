"""Time in blocks, each of which is one word of an index, and the rows of a block are few.

A block of the lowest level is 2**32 µs, about 72 minutes; one of each further level is 16 of those
below it: 19 hours, 13 days and 204 days. Pure.
"""

from collections.abc import Iterator
from itertools import count

SHIFTS = (44, 48, 52, 56)
"""Bits of an id below the number of its block, by level."""
LETTERS = "hijk"
"""What the word of a block begins with, by level."""
_BITS = 4


def block_words() -> list[str]:
    """The words of a row's blocks as PostgreSQL computes them from its id."""
    return [
        f"'_{letter}' || CAST(id >> {shift} AS text)"
        for letter, shift in zip(LETTERS, SHIFTS, strict=True)
    ]


def word_of(level: int, number: int) -> str:
    """The word of one block."""
    return f"_{LETTERS[level]}{number}"


def groups_of(low: int, high: int) -> Iterator[tuple[int, range]]:
    """Level and up to 16 numbers of blocks that cover the ids from `low` to below `high`.

    The newest come first, and the older ones are larger. No two groups cover the same id.
    """
    for step in count():
        if low >= high:
            return
        level = min(step, len(SHIFTS) - 1)
        last = (high - 1) >> SHIFTS[level]
        first = max(last >> _BITS << _BITS, low >> SHIFTS[level])
        yield level, range(first, last + 1)
        high = first << SHIFTS[level]


def parts_of(level: int, number: int) -> range:
    """The numbers of the blocks of the level below that a block consists of."""
    assert level > 0, "nothing is smaller than a block of the lowest level"
    return range(number << _BITS, (number + 1) << _BITS)
