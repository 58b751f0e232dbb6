"""Names and values in messages: suggestions for mistyped names, and shortened values."""

import difflib
import json
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase

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


def close_models(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """At most `count` known names of models that `name` resembles, by the whole or the beginning.

    `smolm2` means the models of the family `smollm2`, although `smollm3-3b` has a similar length.
    """
    name, names = name.lower()[: _LONGEST + 1], list(dict.fromkeys(known))
    parts = name.count("-") + 1
    # a name that is alike as a whole comes before those that only begin so
    heads = {each.lower(): [each] for each in names}
    for each in names:
        heads.setdefault("-".join(each.lower().split("-")[:parts]), []).append(each)
    near = close_matches(name, heads)
    return list(dict.fromkeys(each for head in near for each in heads[head]))[:count]


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint: the known name most like `word`, or all of them."""
    names = list(known)
    if near := close_matches(word, names):
        return f"did you mean `{near[0]}`?"
    listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"known: {listed}" if names else "there are none"


def match_alias(name: str, aliases: Collection[str]) -> str | None:
    """The alias that matches `name`, as the gateway chooses it: the name itself, else
    the matching pattern with the most characters besides `*`, the most of them before it."""
    if name in aliases:
        return name
    patterns = [each for each in aliases if "*" in each and fnmatchcase(name, each)]
    return max(patterns, key=lambda each: (len(each), each.index("*")), default=None)


def shown(value: object) -> str:
    """A value as it is written, cut to fit a line."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
