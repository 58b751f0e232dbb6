"""The known names that a mistyped one is like, for hints."""

import difflib
from collections.abc import Iterable

_LONGEST = 64
"""Characters: comparing takes the product of the lengths, and files may come from strangers."""


def close_matches(
    name: str, known: Iterable[str], count: int = 1, cutoff: float = 0.6
) -> list[str]:
    """At most `count` of `known`, the most similar first; none for a name that is too long."""
    if len(name) > _LONGEST:
        return []
    short = [each for each in known if len(each) <= _LONGEST]
    return difflib.get_close_matches(name, short, count, cutoff)
