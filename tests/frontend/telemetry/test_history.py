"""The points of the history say what happened between two readings."""

import math

from frontend.domain.usage import Usage
from frontend.telemetry.history import POINTS, History, quantile
from frontend.telemetry.metrics import Metrics
from tests.support.upstream import request


async def test_a_point_has_what_happened_since_the_one_before() -> None:
    metrics = Metrics()
    metrics.watch("backlog", "", lambda: {"ledger": 4}, "queue")
    metrics.watch("upstream_up", "", lambda: {"triton": 1.0}, "upstream")
    history = History(15, metrics.values, metrics.refresh)
    metrics.runs.ended(request(), "before", 200, None)
    await history.sample()
    for status in (200, 200, 502):
        asked = request()
        asked.outcome.usage = Usage(3, completion_tokens=5)
        metrics.runs.ended(asked, "m", status, "overloaded" if status == 502 else None)
    with metrics.runs.turn("m", request()) as turn:
        turn.begin()
        await history.sample()
    (point,) = history.points
    assert point["models"]["m"]["requests"] == 3
    assert point["models"]["m"]["errors"] == 1
    assert point["models"]["m"]["completion_tokens"] == 15
    assert point["models"]["m"]["running"] == 1
    assert 0 < point["models"]["m"]["queue_wait_p95_s"] <= 0.01
    assert "before" not in point["models"]
    assert point["refusals"] == {"overloaded": 1}
    assert point["backlog"] == {"ledger": 4}
    assert point["upstreams_up"] == {"triton": 1}
    assert point["cpu_s"] >= 0
    assert point["resident_memory_bytes"] > 1e6


async def test_the_history_is_bounded() -> None:
    history = History(15, dict, lambda: None)
    for _ in range(POINTS + 5):
        await history.sample()
    assert len(history.points) == POINTS
    metrics = Metrics()
    many = History(15, metrics.values, metrics.refresh)
    await many.sample()
    for number in range(60):
        metrics.runs.ended(request(), f"model-{number}", 200, None)
    await many.sample()
    assert len(many.points[0]["models"]) == 50


def test_quantiles_are_those_of_promql() -> None:
    counts = [(0.1, 5.0), (0.2, 10.0), (math.inf, 10.0)]
    assert quantile(0.5, counts) == 0.1
    assert quantile(0.75, counts) == 0.15
    assert quantile(0.95, [(0.1, 0.0), (math.inf, 4.0)]) == 0.1
