"""The names by which clients ask for a model: spellings, and what a name leads to."""

from collections.abc import Mapping
from dataclasses import dataclass

from frontend.domain.models import Model

PATTERN = 2
_LATEST = ":latest"


@dataclass(frozen=True, slots=True)
class Match:
    """A model that a name leads to. `rank`: 0 its own name, 1 an alias, 2 a pattern."""

    model: Model
    rank: int

    @property
    def is_pattern(self) -> bool:
        """Whether only a pattern leads to it."""
        return self.rank == PATTERN


def spellings(name: str) -> list[str]:
    """The names by which a model may be known that a client calls `name`, likeliest first.

    A name without a tag means the tag `latest`, as Ollama has it; its clients use the names that
    they read there with the other APIs, too.
    """
    if name.endswith(_LATEST):
        return [name, name.removesuffix(_LATEST)]
    return [name] if ":" in name else [name, name + _LATEST]


def find_cycle(mapping: Mapping[str, str]) -> list[str]:
    """Names that lead to each other in a circle; empty when there are none."""
    for start in mapping:
        seen = [start]
        while (name := mapping.get(seen[-1])) is not None:
            if name in seen:
                return [*seen[seen.index(name) :], name]
            seen.append(name)
    return []
