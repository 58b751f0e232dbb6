"""Each term of the score, and the choice by it."""

from dataclasses import replace

import pytest

from frontend.upstreams.balance import Candidate, pick, score
from frontend.upstreams.health import COOL_S, FAILURES, Breaker, State

PLAIN = Candidate("a", loaded=False, utilization=1.0, queue=1e9, speed=0.0, latency_ms=1e12)
TERMS = [
    ({}, 0.0),
    ({"loaded": True}, 100.0),
    ({"affinity": 0.5}, 30.0),
    ({"affinity": 7.0}, 60.0),
    ({"utilization": 0.25}, 37.5),
    ({"utilization": None}, 25.0),
    ({"queue": 0.0}, 30.0),
    ({"queue": 2.0}, 15.0),
    ({"speed": 0.5}, 10.0),
    ({"speed": None}, 20.0),
    ({"latency_ms": 0.0}, 40.0),
    ({"latency_ms": 5000.0}, 20.0),
    ({"priority": -1.5}, -15.0),
]


@pytest.mark.parametrize(("change", "total"), TERMS)
def test_each_term_is_as_specified(change: dict[str, float], total: float) -> None:
    assert score(replace(PLAIN, **change)).total == pytest.approx(total, abs=1e-4)  # type: ignore[arg-type]


def test_the_best_wins_and_equal_ones_take_turns_by_chance() -> None:
    same = [Candidate("a"), Candidate("b"), Candidate("c", loaded=False)]
    scores = [score(one) for one in same]
    assert [pick(same, scores, lambda r=r: r) for r in (0.0, 0.49, 0.51, 0.99)] == [0, 0, 1, 1]  # type: ignore[misc]


def test_stale_figures_send_to_the_less_busy_of_two() -> None:
    stale = [
        Candidate("a", stale=True, running=9, latency_ms=0),
        Candidate("b", stale=True, running=1, latency_ms=9e9),
    ]
    scores = [score(one) for one in stale]
    assert {pick(stale, scores, lambda r=r: r) for r in (0.0, 0.6, 0.99)} == {1}  # type: ignore[misc]


def test_a_breaker_opens_cools_and_closes_after_a_success() -> None:
    now = [0.0]
    breaker = Breaker(lambda: now[0])
    for _ in range(FAILURES - 1):
        breaker.failed()
    assert breaker.state is State.CLOSED
    breaker.failed()
    assert breaker.state is State.OPEN
    now[0] = COOL_S
    assert breaker.state is State.HALF_OPEN
    breaker.failed()
    assert breaker.state is State.OPEN
    now[0] += COOL_S
    assert breaker.state is State.OPEN, "the second time takes twice as long"
    now[0] += COOL_S
    assert breaker.state is State.HALF_OPEN
    breaker.succeeded()
    assert breaker.state is State.CLOSED
