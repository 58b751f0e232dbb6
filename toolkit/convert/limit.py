"""Searches the maximum number of tokens of a model, and makes texts of that length. Pure."""

from collections.abc import Callable
from itertools import cycle, islice

from toolkit.convert.parity import SENTENCES

MOST_TRIED = 2048
"""Tokens. Attention takes their square in memory: 8192 are 4 GB a layer in a large model. Above
it the table of positions is trusted, and the longest text compared has this many tokens."""


def longest(works: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` for which `works` says yes, as for all below it; else 0."""
    if works(most):
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if works(middle) else (low, middle)
    return low


def texts_at_limit(count: Callable[[str], int], limit: int) -> tuple[str, str]:
    """A text of exactly `limit` tokens (or the nearest below) and one above it, by `count`."""
    sentences = " ".join(SENTENCES).split()
    words = list(islice(cycle(sentences), limit))
    number = longest(lambda n: count(" ".join(words[:n])) <= limit, limit)
    text = " ".join(words[:number])
    for _ in range(limit + 1):  # a word has several tokens, a letter hardly ever
        longer = f"{text} a".strip()
        if count(longer) > limit:
            break
        text = longer
    return text, longer
