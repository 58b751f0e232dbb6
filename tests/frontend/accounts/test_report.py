"""The parts of a range add up to it in any time zone, also where the clocks change."""

import random
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.engine import Engine

from frontend.accounts.report import INTERVALS, Question, parse_moment, parts_of, report, zone_of
from frontend.accounts.windows import DAY_US, HOUR_US, SECOND_US
from frontend.domain.metering import Owner
from frontend.errors import InvalidRequest
from frontend.store.database import Database
from frontend.store.reports import Reports, UsageFilter
from tests.support.ledgers import check_views, hold_of, ledger_of, used

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
    reports = Reports(database)
    start_us, end_us = START_US + HOUR_US // 3, START_US + 15 * DAY_US + 7 * SECOND_US
    expected = sum(n for n, at_us in enumerate(starts) if start_us <= at_us < end_us)
    for zone in ZONES:
        for interval in ("day", "month", "total"):
            asked = question(interval, zone, start_us, end_us, "user_id", "model")
            rows = await report(reports, asked, None, 1000)
            assert sum(row["prompt_tokens"] for row in rows) == expected, (zone, interval)
            pages, after = [], None
            while page := await report(reports, asked, after, 4):
                pages += page
                last = page[-1]
                after = last["start_us"], [last["user_id"], last["model"]]
            assert pages == rows


async def _settle(database: Database, starts: list[int]) -> list[dict[str, Any]]:
    """Requests of two gateways, the late ones first; what a report must find, from nothing else."""
    rows = []
    for gateway in (0, 1):
        async with ledger_of(database) as ledger:
            for number, start_us in list(enumerate(starts))[gateway::2][::-1]:
                owner = Owner(*(f"{kind}{number % n}" for kind, n in _OWNERS.items()))
                hold = used(hold_of(owner, f"m{number % 3}", start_us), number, 1)
                hold.row.status = 500 if number % 5 == 0 else 200
                ledger.settle(hold)
                names = ("organisation_id", "group_id", "user_id", "key_id")
                owners = (owner.organisation, owner.group, owner.user, owner.key)
                row = dict(zip(names, owners, strict=True)) | {"model": hold.row.model}
                rows.append(row | {"at_us": start_us, "prompt_tokens": number})
    return rows


_OWNERS = {"o": 2, "g": 4, "u": 8, "k": 16}
_FILTERS: tuple[dict[str, str], ...] = (
    {}, {"model": "m1"}, {"group_id": "g1"}, {"organisation_id": "o1"}, {"key_id": "k3"},
    {"user_id": "u2"}, {"group_id": "g1", "model": "m1"}, {"user_id": "u2", "model": "m1"},
)  # fmt: skip
_BY = ((), ("model",), ("group_id",), ("model", "group_id"), ("user_id",), ("model", "key_id"))


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "Europe/Berlin", "Australia/Lord_Howe"])
async def test_every_question_is_answered_as_the_rows_do(database: Database, zone: str) -> None:
    # days of 23, 25, 23½ and 24½ hours are among them
    starts = [START_US - 40 * DAY_US + n * (11 * HOUR_US + 17 * 60 * SECOND_US) for n in range(200)]
    rows = await _settle(database, starts)
    await check_views(database)
    reports = Reports(database)
    bounds = (
        (START_US - 41 * DAY_US, START_US + 60 * DAY_US),
        (START_US - 21 * DAY_US - 7 * SECOND_US, START_US + 20 * DAY_US + HOUR_US // 3),
    )
    cases = [*product(bounds, _FILTERS, _BY)]
    for (start_us, end_us), where, by in random.Random(zone).sample(cases, 30):
        owners = {name: value for name, value in where.items() if name != "model"}
        chosen = UsageFilter(start_us, end_us, owners, where.get("model"))
        found = [
            row for row in rows
            if start_us <= row["at_us"] < end_us and where.items() <= row.items()
        ]  # fmt: skip
        totals = await reports.sums(chosen)
        assert totals["requests"] == len(found)
        for interval in INTERVALS:
            asked = Question(chosen, interval, zone_of(zone), by)
            cuts = [start for start, _ in parts_of(asked)]
            expected: Counter[tuple[Any, ...]] = Counter()
            for row in found:
                start = max(cut for cut in cuts if cut <= row["at_us"])
                expected[start, *(row[name] for name in by)] += row["prompt_tokens"]
            told = await report(reports, asked, None, 5000)
            sums = {(row["start_us"], *(row[n] for n in by)): row["prompt_tokens"] for row in told}
            assert sums == expected, (where, by, interval)
            assert [*sums] == sorted(sums)
            assert sum(row["failures"] for row in told) == totals["failures"]


async def test_a_report_reads_on_where_the_page_before_ended(database: Database) -> None:
    starts = [START_US + n * (HOUR_US // 2) for n in range(100)]
    await _settle(database, starts)
    reports = Reports(database)
    for by, zone in product(_BY, ("UTC", "Asia/Kolkata")):
        asked = question("day", zone, START_US, START_US + 5 * DAY_US, *by)
        whole = await report(reports, asked, None, 1000)
        pages, after = [], None
        while page := await report(reports, asked, after, 3):
            pages += page
            after = page[-1]["start_us"], [page[-1][name] for name in by]
        assert pages == whole


async def test_a_page_of_a_year_is_few_selections_in_every_zone(database: Database) -> None:
    starts = [START_US + n * (5 * HOUR_US + 17 * 60 * SECOND_US) for n in range(60)]
    await _settle(database, starts)
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        for zone, interval, most in (
            ("UTC", "day", 4), ("Europe/Berlin", "day", 4), ("Asia/Kolkata", "day", 4),
            ("Europe/Berlin", "month", 100), ("Asia/Kolkata", "month", 100), ("UTC", "hour", 4),
        ):  # fmt: skip
            end_us = START_US + 365 * DAY_US
            chosen = UsageFilter(START_US + HOUR_US, end_us, {"user_id": "u2"})
            asked = Question(chosen, interval, zone_of(zone), ("model", "key_id"))
            sent.clear()
            assert await report(Reports(database), asked, None, most)
            # each part of a year alone would be some hundreds of them
            assert sum(one.count("SELECT") for one in sent) <= 5 * 13 + 2, zone
            assert len(sent) <= 4, zone
            if interval == "month":
                assert any("usage_rollups" in one for one in sent), "whole days are one row"
    finally:
        event.remove(Engine, "before_cursor_execute", note)
