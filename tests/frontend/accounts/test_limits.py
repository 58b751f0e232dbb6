"""Counters add up whatever happens in whatever order, and windows begin and end where UTC says."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontend.accounts.limits import (
    Counter,
    Limit,
    Measure,
    Scope,
    left,
    reset,
    reset_us,
    settle,
    take,
)
from frontend.accounts.quotas import Grant, Need, Refusal, reserve, settle_all
from frontend.accounts.windows import (
    BUCKETS,
    DAY_US,
    HOUR_US,
    MINUTE_US,
    SECOND_US,
    iso,
    parse_window,
)

NOW_US = int(datetime(2026, 11, 26, 21, 50, tzinfo=UTC).timestamp()) * SECOND_US


def limit_of(window: str, amount: int, measure: Measure = Measure.TOKENS, **more: str) -> Limit:
    fields: dict[str, str] = {"subject": "ada", "model": "", **more}
    return Limit(
        Scope.USER, fields["subject"], measure, parse_window(window), amount, fields["model"]
    )


def moment(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * SECOND_US  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("day", (2026, 11, 26), (2026, 11, 27)),
        ("week", (2026, 11, 23), (2026, 11, 30)),
        ("month", (2026, 11, 1), (2026, 12, 1)),
        ("year", (2026, 1, 1), (2027, 1, 1)),
    ],
)
def test_calendar_windows_are_in_utc(
    name: str, start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    window = parse_window(name)
    assert window.start(NOW_US) == moment(*start)
    assert window.end(NOW_US) == moment(*end)
    assert window.start(window.end(NOW_US) - 1) == window.start(NOW_US)


@pytest.mark.parametrize("name", ["", "hour", "0d", "-1d", "30", "9999999d", "99999d", "30 d"])
def test_a_window_that_does_not_exist_is_refused_with_what_does(name: str) -> None:
    with pytest.raises(ValueError, match="month, year, none, or a rolling period such as 30d"):
        parse_window(name)


def test_a_rate_allows_a_burst_and_then_its_pace() -> None:
    limit, counter = limit_of("minute", 60, Measure.REQUESTS), Counter()
    for _ in range(60):
        assert left(limit, counter, NOW_US) > 0
        take(limit, counter, 1, NOW_US)
    assert left(limit, counter, NOW_US) == 0
    assert reset_us(limit, counter, NOW_US, 1) == SECOND_US
    assert left(limit, counter, NOW_US + SECOND_US) == 1
    assert reset_us(limit, counter, NOW_US) == MINUTE_US


def test_a_rolling_window_forgets_bucket_by_bucket_and_never_early() -> None:
    limit, counter = limit_of("30d", 100), Counter()
    take(limit, counter, 60, NOW_US)
    settle(limit, counter, 60, 60, NOW_US)
    later_us = NOW_US + 10 * DAY_US
    take(limit, counter, 40, later_us)
    settle(limit, counter, 40, 40, later_us)
    assert left(limit, counter, NOW_US + 30 * DAY_US) == 0
    wait_us = reset_us(limit, counter, later_us, 50)
    assert left(limit, counter, later_us + wait_us - 1) == 0
    assert left(limit, counter, later_us + wait_us + 1) == 60
    assert left(limit, counter, later_us + 32 * DAY_US) == 100
    assert len(counter.buckets) <= BUCKETS + 1


@pytest.mark.parametrize("window", ["day", "month", "30d", "minute"])
def test_a_clock_that_jumps_back_frees_nothing_and_keeps_nobody_waiting(window: str) -> None:
    limit, counter = limit_of(window, 10), Counter()
    take(limit, counter, 10, NOW_US)
    settle(limit, counter, 10, 10, NOW_US)
    before_us = NOW_US - 400 * DAY_US
    assert left(limit, counter, before_us) <= 0
    if window == "minute":
        assert reset_us(limit, counter, before_us, 10) <= 2 * MINUTE_US
    else:
        assert left(limit, counter, NOW_US) == 0


def test_a_clock_that_is_behind_forgets_nothing() -> None:
    limit, counter = limit_of("minute", 10), Counter()
    take(limit, counter, 10, NOW_US)
    assert left(limit, counter, NOW_US - 30 * SECOND_US) < 0
    assert left(limit, counter, NOW_US) == 0


def test_what_is_reserved_outlives_its_window() -> None:
    limit, counter = limit_of("day", 10), Counter()
    take(limit, counter, 7, NOW_US)
    tomorrow_us = NOW_US + DAY_US
    assert left(limit, counter, tomorrow_us) == 3
    settle(limit, counter, 7, 2, tomorrow_us)
    assert left(limit, counter, tomorrow_us) == 8
    reset(counter)
    assert left(limit, counter, tomorrow_us) == 10


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle", "refund", "cancel"]),
        st.integers(0, 400),
        st.integers(0, 400),
        st.integers(0, 3 * HOUR_US),
    ),
    max_size=40,
)


@settings(max_examples=1000, deadline=None)
@given(steps=STEPS, amount=st.integers(0, 1000), window=st.sampled_from(["none", "year"]))
def test_total_is_remaining_and_used_after_every_step(
    steps: list[tuple[str, int, int, int]], amount: int, window: str
) -> None:
    """In any order nothing is lost, nothing negative and nothing exceeded."""
    limits = [
        limit_of(window, amount),
        limit_of(window, 700, subject="team"),
        limit_of("none", 5, Measure.CONCURRENCY),
    ]
    counters = {limit.key: Counter() for limit in limits}
    running: list[Grant] = []
    used, now_us = 0, moment(2026, 1, 2)
    for what, first, second, wait_us in steps:
        now_us += wait_us
        if what == "reserve":
            before = {key: (one.used, one.reserved) for key, one in counters.items()}
            result = reserve(limits, counters, Need(first, second, min(second, 1)), now_us)
            if isinstance(result, Grant):
                running.append(result)
                assert result.output <= second
            else:
                assert before == {key: (one.used, one.reserved) for key, one in counters.items()}
                assert result.left < result.needed
        elif running:
            grant = running.pop(first % len(running))
            most = max(
                (held for limit, held in grant.holds if limit.measure is Measure.TOKENS), default=0
            )
            tokens = {"settle": most, "refund": min(second, most), "cancel": None}[what]
            settle_all(grant.holds, counters, tokens, now_us)
            used += tokens or 0
        held = sum(dict(one.holds).get(limits[0], 0) for one in running)
        for limit in limits[:2]:
            counter = counters[limit.key]
            assert (counter.used, counter.reserved) == (used, held)
            assert left(limit, counter, now_us) == limit.amount - used - held >= 0
        assert counters[limits[2].key].reserved == len(running) <= 5


@given(
    costs=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), max_size=30),
    amount=st.integers(1, 100),
)
def test_a_rate_that_is_settled_is_as_if_the_true_cost_had_been_known(
    costs: list[tuple[int, int]], amount: int
) -> None:
    limit, guessed, known = limit_of("minute", amount), Counter(), Counter()
    for estimate, actual in costs:
        if left(limit, guessed, NOW_US) < max(estimate, actual):
            continue
        take(limit, guessed, estimate, NOW_US)
        settle(limit, guessed, estimate, actual, NOW_US)
        take(limit, known, actual, NOW_US)
    assert left(limit, guessed, NOW_US) == left(limit, known, NOW_US)


def test_the_answer_is_cut_to_what_the_tightest_budget_has_left() -> None:
    wide, tight = limit_of("month", 1000), limit_of("month", 100, subject="key")
    counters = {
        wide.key: Counter(),
        tight.key: Counter(used=60, start_us=tight.window.start(NOW_US)),
    }
    grant = reserve([wide, tight], counters, Need(10, 500, 1), NOW_US)
    assert isinstance(grant, Grant)
    assert (grant.output, grant.lowered_by) == (30, tight)
    refusal = reserve([wide, tight], counters, Need(10, 500, 1), NOW_US)
    assert isinstance(refusal, Refusal)
    assert (refusal.limit, refusal.left, refusal.needed) == (tight, 0, 11)
    assert iso(NOW_US + (refusal.wait_us or 0)) == "2026-12-01T00:00:00Z"


def test_a_rate_does_not_cut_an_answer_but_lets_it_wait() -> None:
    limit = limit_of("minute", 600)
    counters = {limit.key: Counter()}
    assert isinstance(reserve([limit], counters, Need(100, 400, 1), NOW_US), Grant)
    refusal = reserve([limit], counters, Need(100, 400, 1), NOW_US)
    assert isinstance(refusal, Refusal)
    assert refusal.wait_us == 40 * SECOND_US
    never = reserve([limit], counters, Need(601, 400, 1), NOW_US)
    assert isinstance(never, Refusal)
    assert never.wait_us is None
    whole = reserve([limit], counters, Need(100, 9999, 1), NOW_US + MINUTE_US)
    assert isinstance(whole, Grant)
    assert whole.output == 500
