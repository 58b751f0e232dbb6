"""Histograms of durations: their buckets, and one that takes many observations at once.

The library's `observe` takes about a microsecond, too much for each token of each stream.
"""

from bisect import bisect_left

from prometheus_client import CollectorRegistry, Histogram

from frontend.domain.events import Event

LONG_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
"""From a short answer of a small model to the default limit of a request, 600 s."""
SHORT_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5)
"""Between two tokens: 0.25 s is where a reader waits for a stream."""


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
    """The times between the tokens of one stream, counted by bucket until the stream ends."""

    __slots__ = ("_counts", "_last", "_total_s")

    def __init__(self) -> None:
        self._counts = [0] * (len(SHORT_S) + 1)
        self._last: dict[int, list[float]] = {}
        self._total_s = 0.0

    def saw(self, events: list[Event], now_s: float) -> None:
        """Events that came together; tokens of one completion share its time."""
        for event in events:
            tokens, last = event.completion_tokens, self._last.get(event.index)
            # what comes before the first token is the prompt's time
            if last is None:
                self._last[event.index] = [now_s, tokens]
            elif (new := tokens - int(last[1])) > 0:
                passed_s = now_s - last[0]
                self._counts[bisect_left(SHORT_S, passed_s / new)] += new
                self._total_s += passed_s
                last[0], last[1] = now_s, tokens

    def add_to(self, histogram: Durations) -> None:
        """The stream is over."""
        if any(self._counts):
            histogram.add_all(self._counts, self._total_s)
