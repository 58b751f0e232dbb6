"""Names with one `*`, which stands for any text: which model a name leads to. Pure.

If several patterns match, the one with the most characters besides `*` wins, then the one with the
most before it; two different patterns are never equal in both and match the same name. A lookup
takes one step for each different length of patterns, however many patterns there are.
"""

from collections.abc import Mapping

WILDCARD = "*"
_LONGEST = 256
"""Characters; a longer name matches nothing."""


class Patterns:
    """Patterns and the models that they lead to."""

    def __init__(self, models: Mapping[str, str]) -> None:
        """`models` holds the name of a model for each pattern; keys without `*` are ignored."""
        self._models = {
            (prefix, suffix): model
            for pattern, model in models.items()
            for prefix, star, suffix in [pattern.partition(WILDCARD)]
            if star
        }
        lengths = {(len(prefix), len(suffix)) for prefix, suffix in self._models}
        self._lengths = sorted(lengths, key=lambda each: (sum(each), each[0]), reverse=True)

    def find(self, name: str) -> str | None:
        """The model of the most specific pattern that matches; None if none does."""
        length = len(name)
        # names come from strangers, and each pair of lengths cuts the name twice
        if length > _LONGEST:
            return None
        for before, after in self._lengths:
            if before + after <= length:
                model = self._models.get((name[:before], name[length - after :]))
                if model is not None:
                    return model
        return None
