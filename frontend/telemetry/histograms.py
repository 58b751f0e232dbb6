"""Histograms of durations: their buckets, and one that takes many observations at once.

The library's `observe` takes about a microsecond, too much for each token of each stream; and its
`inc` checks its argument again each time, which takes as long as the addition.
"""

from bisect import bisect_left
from collections.abc import Callable
from math import inf
from time import perf_counter
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from frontend.domain.events import Event

LONG_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
"""From a short answer of a small model to the default limit of a request, 600 s."""
SHORT_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5)
"""Between two tokens: 0.25 s is where a reader waits for a stream."""

Add = Callable[[float], None]


def adding(metric: Counter | Gauge) -> Add:
    """What adds to a metric, without a look at the number: it must not make a counter smaller."""
    value: Any = metric._value
    add: Add = value.inc
    return add


class Durations(Histogram):
    """Seconds by model."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """One duration. The library's own way tries one bound after the other."""
        assert exemplar is None, "exemplars are not supported"
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)

    def add_all(self, counts: list[int], total_s: float) -> None:
        """Adds counts by bucket, as `Gaps` has them."""
        self._sum.inc(total_s)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


def durations(
    name: str, meaning: str, bounds: tuple[float, ...], to: CollectorRegistry
) -> Durations:
    """A histogram with the label `model`."""
    return Durations(f"gateway_{name}_seconds", meaning, ["model"], buckets=bounds, registry=to)


class Gaps:
    """The times between the tokens of one stream, counted by bucket until the stream ends.

    Each token of each stream passes here: the newest completion is in attributes, those of a
    stream with several wait in a dictionary.
    """

    __slots__ = (
        "_at_s", "_bucket", "_counts", "_first_s", "_from_s", "_index", "_others", "_to_s",
        "_tokens",
    )  # fmt: skip

    def __init__(self) -> None:
        self._counts = [0] * (len(SHORT_S) + 1)
        self._index, self._at_s, self._tokens = -1, 0.0, 0
        self._others: dict[int, tuple[float, int]] = {}
        self._first_s = 0.0  # the sum of the times of first tokens
        # the last bucket and its bounds: most tokens of a stream take about the same time
        self._bucket, self._from_s, self._to_s = 0, -inf, SHORT_S[0]

    def saw(self, events: list[Event]) -> None:
        """Events that just came, together; tokens of one completion share its time."""
        now_s = perf_counter()
        for event in events:
            # what comes before the first token is the prompt's time
            if event.index != self._index and self._is_first(event, now_s):
                continue
            tokens = event.completion_tokens
            if (new := tokens - self._tokens) > 0:
                each_s = (now_s - self._at_s) / new
                if not self._from_s < each_s <= self._to_s:
                    self._find_bucket(each_s)
                self._counts[self._bucket] += new
                self._at_s, self._tokens = now_s, tokens

    def _find_bucket(self, each_s: float) -> None:
        self._bucket = bucket = bisect_left(SHORT_S, each_s)
        self._from_s = SHORT_S[bucket - 1] if bucket else -inf
        self._to_s = SHORT_S[bucket] if bucket < len(SHORT_S) else inf

    def _is_first(self, event: Event, now_s: float) -> bool:
        """Turns to the event's completion; whether nothing of it came before."""
        if self._index >= 0:
            self._others[self._index] = self._at_s, self._tokens
        self._index = event.index
        known = self._others.get(event.index)
        self._at_s, self._tokens = known or (now_s, event.completion_tokens)
        if known is None:
            self._first_s += now_s
        return known is None

    def add_to(self, histogram: Durations) -> None:
        """The stream has ended."""
        if any(self._counts):
            self._others[self._index] = self._at_s, self._tokens
            last_s = sum(at_s for at_s, _ in self._others.values())
            histogram.add_all(self._counts, last_s - self._first_s)
