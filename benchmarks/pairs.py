"""Alternating pairs: what is compared runs in turns, and each round gives one ratio.

Machines drift and neighbours come and go; a ratio within a round cancels most of that, a comparison
of two separate runs none.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

Measure = Callable[[], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours over the peer's, over all rounds."""

    name: str
    median: float
    low: float
    high: float
    ours: float
    peer: float

    def row(self) -> str:
        """A line of a Markdown table: name, ratio with its range, both medians."""
        spread = f"{self.median:.2f} [{self.low:.2f}–{self.high:.2f}]"
        return f"| {self.name} | {spread} | {self.ours:.4g} | {self.peer:.4g} |"


def compare(ours: Measure, peer: Measure, rounds: int) -> list[Ratio]:
    """Runs both `rounds` times, the order turned each round, after one round to warm up."""
    ours(), peer()
    pairs: list[tuple[dict[str, float], dict[str, float]]] = []
    for number in range(rounds):
        if number % 2:
            theirs, own = peer(), ours()
        else:
            own, theirs = ours(), peer()
        pairs.append((own, theirs))
    return [_ratio(name, pairs) for name in pairs[0][0]]


def _ratio(name: str, pairs: list[tuple[dict[str, float], dict[str, float]]]) -> Ratio:
    ratios = sorted(own[name] / theirs[name] for own, theirs in pairs)
    return Ratio(
        name,
        statistics.median(ratios),
        ratios[0],
        ratios[-1],
        statistics.median(own[name] for own, _ in pairs),
        statistics.median(theirs[name] for _, theirs in pairs),
    )
