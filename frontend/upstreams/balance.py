"""Chooses one of several upstreams for a request, by a score of each. Pure.

An upstream comes here after the hard constraints: whatever it scores, it could serve the request.
Every term that is not known counts as its middle or its best, so that an upstream nobody has tried
yet is tried.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

RESIDENCY, AFFINITY, UTILIZATION, QUEUE = 100.0, 60.0, 50.0, 30.0
THROUGHPUT, LATENCY, PRIORITY = 20.0, 40.0, 10.0
_HALF_LATENCY_MS = 5000.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of one upstream for one request.

    `affinity`: the part of the prompt, 0…1, that it has seen lately. `utilization`, 0…1, and
    `speed`, its tokens per second beside those of the fastest candidate, are None where they are
    not known. `queue`: requests that wait there. `stale`: its figures are old.
    """

    name: str
    loaded: bool = True
    affinity: float = 0.0
    utilization: float | None = None
    queue: float = 0.0
    speed: float | None = None
    latency_ms: float = 0.0
    priority: float = 0.0
    running: int = 0
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """The terms of one candidate; the largest `total` wins."""

    residency: float
    affinity: float
    utilization: float
    queue: float
    throughput: float
    latency: float
    priority: float

    @property
    def total(self) -> float:
        """The sum of all terms."""
        return (
            self.residency
            + self.affinity
            + self.utilization
            + self.queue
            + self.throughput
            + self.latency
            + self.priority
        )


def score(one: Candidate) -> Score:
    """The terms of a candidate."""
    used = 0.5 if one.utilization is None else _unit(one.utilization)
    return Score(
        residency=RESIDENCY if one.loaded else 0.0,
        affinity=AFFINITY * _unit(one.affinity),
        utilization=UTILIZATION * (1 - used),
        queue=QUEUE / (1 + 0.5 * max(one.queue, 0.0)),
        throughput=THROUGHPUT * (1.0 if one.speed is None else _unit(one.speed)),
        latency=LATENCY / (1 + max(one.latency_ms, 0.0) / _HALF_LATENCY_MS),
        priority=PRIORITY * one.priority,
    )


def pick(
    candidates: Sequence[Candidate], scores: Sequence[Score], random: Callable[[], float]
) -> int:
    """The number of the candidate that gets the request. `random` gives numbers of [0, 1).

    With stale figures it is the one of two random candidates that this gateway has sent less
    (Mitzenmacher 2001, "The power of two choices"): everybody would follow an old figure to the
    same upstream.
    """
    if any(one.stale for one in candidates) and len(candidates) > 1:
        first = int(random() * len(candidates))
        second = int(random() * (len(candidates) - 1))
        second += second >= first
        return min(first, second, key=lambda n: (candidates[n].running, -candidates[n].priority))
    best = max(one.total for one in scores)
    equal = [number for number, one in enumerate(scores) if best - one.total < 1e-9]
    return equal[int(random() * len(equal))]


def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0)
