"""The parts of a range add up to it in any time zone, also where the clocks change."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontend.accounts.report import INTERVALS, Question, parse_moment, parts_of, report, zone_of
from frontend.accounts.windows import DAY_US, HOUR_US, SECOND_US
from frontend.errors import InvalidRequest
from frontend.store.database import Database
from frontend.store.usage import UsageFilter, UsageStore
from tests.support.ledgers import hold_of, ledger_of, used

ZONES = (
    "UTC", "Asia/Kathmandu", "America/St_Johns", "Europe/Berlin", "Australia/Lord_Howe",
    "America/New_York", "Africa/Casablanca", "Pacific/Chatham", "Asia/Tokyo", "America/Sao_Paulo",
)  # fmt: skip
START_US = int(datetime(2026, 10, 20, tzinfo=UTC).timestamp()) * SECOND_US


def question(interval: str, zone: str, start_us: int, end_us: int, *by: str) -> Question:
    return Question(UsageFilter(start_us, end_us), interval, zone_of(zone), by)


@settings(max_examples=200)
@given(
    interval=st.sampled_from(INTERVALS),
    zone=st.sampled_from(ZONES),
    start_s=st.integers(0, 400 * 86400),
    length_s=st.integers(1, 100 * 86400),
)
def test_parts_cover_a_range_without_gaps(
    interval: str, zone: str, start_s: int, length_s: int
) -> None:
    start_us = START_US + start_s * SECOND_US
    end_us = start_us + length_s * SECOND_US
    parts = parts_of(question(interval, zone, start_us, end_us))
    assert parts[0][0] == start_us
    assert parts[-1][1] == end_us
    assert all(one[1] == two[0] for one, two in pairwise(parts))
    assert all(one[0] < one[1] for one in parts)
    if interval == "day":
        for _, cut_us in parts[:-1]:
            local = datetime.fromtimestamp(cut_us / SECOND_US, zone_of(zone))
            assert (local.hour, local.minute) == (0, 0)


def test_a_day_on_which_the_clocks_change_has_23_or_25_hours() -> None:
    def hours(month: int, day: int) -> float:
        start_us = parse_moment("start", f"2026-{month:02}-{day:02}", zone_of("Europe/Berlin"))
        ((begin_us, end_us), *_) = parts_of(
            question("day", "Europe/Berlin", start_us, start_us + 3 * DAY_US)
        )
        return (end_us - begin_us) / HOUR_US

    assert (hours(3, 29), hours(10, 25), hours(6, 1)) == (23, 25, 24)


@pytest.mark.parametrize("text", ["", "now", "2026-13-01", "٣", "-5"])
def test_a_time_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="'start' is"):
        parse_moment("start", text, zone_of("UTC"))


async def test_days_add_up_to_the_rows_in_every_zone(database: Database) -> None:
    starts = [START_US + number * (7 * HOUR_US + 13 * 60 * SECOND_US) for number in range(60)]
    async with ledger_of(database) as ledger:
        for number, start_us in enumerate(starts):
            hold = used(hold_of(model=f"m{number % 3}", now_us=start_us), number, 1)
            ledger.settle(hold)
    store = UsageStore(database)
    start_us, end_us = START_US + HOUR_US // 3, START_US + 15 * DAY_US + 7 * SECOND_US
    expected = sum(n for n, at_us in enumerate(starts) if start_us <= at_us < end_us)
    for zone in ZONES:
        for interval in ("day", "month", "total"):
            asked = question(interval, zone, start_us, end_us, "user_id", "model")
            rows = await report(store, asked, None, 1000)
            assert sum(row["prompt_tokens"] for row in rows) == expected, (zone, interval)
            pages, after = [], None
            while page := await report(store, asked, after, 4):
                pages += page
                last = page[-1]
                after = last["start_us"], [last["user_id"], last["model"]]
            assert pages == rows
