"""Reports usage by time, user, key and model, in any time zone. Pure, except for reads.

Time is cut at the viewer's midnights or months, daylight saving included. The parts adjoin, so they
always add up to the range.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from frontend.accounts.windows import DAY_US, HOUR_US, SECOND_US
from frontend.errors import InvalidRequest
from frontend.store.reports import Reports, UsageFilter

INTERVALS = ("hour", "day", "month", "total")
LARGEST = {
    "tokens": ("prompt_tokens", "completion_tokens"),
    "requests": ("requests",),
    "credits": ("credits_micro",),
}
"""What the largest rows can be the largest of: sums that are added."""
GROUPS = ("user_id", "key_id", "model", "group_id", "organisation_id")
_MAX_DAYS = 3660
_MAX_PARTS = 9000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Question:
    """The range and the grouping of a report. `by` are the columns to group by."""

    chosen: UsageFilter
    interval: str
    zone: ZoneInfo
    by: tuple[str, ...]
    largest: str = ""
    """The measure whose largest rows come first; "": in order of time and groups."""


def zone_of(name: str) -> ZoneInfo:
    """Raises InvalidRequest for a time zone that does not exist."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        text = f"'tz' is '{name[:40]}'; it must be a time zone such as 'Europe/Berlin' or 'UTC'"
        raise InvalidRequest(text, param="tz") from None


def parse_moment(name: str, text: str, zone: ZoneInfo) -> int:
    """Parses seconds since 1970, or a date or time in ISO 8601, by default in the viewer's zone.

    Returns microseconds. Raises InvalidRequest, naming the field, for any other text.
    """
    try:
        if text.isascii() and text.isdigit() and len(text) <= 11:
            return int(text) * SECOND_US
        moment = datetime.fromisoformat(text)
    except ValueError:
        problem = f"'{name}' is '{text[:40]}'; it must be a date such as 2026-11-26, a time in"
        raise InvalidRequest(f"{problem} ISO 8601, or seconds since 1970", param=name) from None
    try:
        return _micros(moment if moment.tzinfo else moment.replace(tzinfo=zone))
    except OverflowError:
        raise InvalidRequest(f"'{name}' is out of range", param=name) from None


def parts_of(question: Question) -> list[tuple[int, int]]:
    """The intervals of a range, cut to it. Raises InvalidRequest for too many of them."""
    start_us, end_us = question.chosen.start_us, question.chosen.end_us
    if not 0 <= start_us < end_us:
        raise InvalidRequest("'start' must be before 'end'", param="start")
    if end_us - start_us > _MAX_DAYS * DAY_US:
        raise InvalidRequest(f"the range must be at most {_MAX_DAYS} days", param="end")
    parts = []
    for cut_us in _cuts(question):
        if cut_us > start_us:
            parts.append((start_us, min(cut_us, end_us)))
            start_us = cut_us
        if cut_us >= end_us:
            return parts
        if len(parts) > _MAX_PARTS:
            text = "the range has too many intervals; choose a longer one or a shorter range"
            raise InvalidRequest(text, param="interval")
    return [*parts, (start_us, end_us)]


async def report(
    reports: Reports, question: Question, after: tuple[int, Sequence[str]] | None, most: int
) -> list[dict[str, Any]]:
    """Rows in order of time and groups, after the row `after`, or the largest of the one interval
    `total`; empty intervals are left out."""
    parts = [part for part in parts_of(question) if after is None or part[0] >= after[0]]
    # a part that the page before ended with is read on; one that is not of this report is not
    last = after[1] if after is not None and parts and parts[0][0] == after[0] else None
    largest = LARGEST.get(question.largest, ())
    found = await reports.parts(question.chosen, parts, question.by, last, most, largest)
    rows = []
    for row in found:
        start_us = parts[row.pop("part")][0]
        local = datetime.fromtimestamp(start_us / SECOND_US, question.zone)
        rows.append({"start_us": start_us, "start": local.isoformat(), **row})
    return rows


def _cuts(question: Question) -> Iterator[int]:
    """Where intervals end, from the range's start on."""
    start_us = question.chosen.start_us
    if question.interval == "total":
        return
    if question.interval == "hour":
        while True:
            start_us += HOUR_US - start_us % HOUR_US
            yield start_us
    day = (_EPOCH + timedelta(microseconds=start_us)).astimezone(question.zone).date()
    while True:
        day = _next_month(day) if question.interval == "month" else day + timedelta(days=1)
        yield _micros(datetime(day.year, day.month, day.day, tzinfo=question.zone))


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def _micros(moment: datetime) -> int:
    return (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
