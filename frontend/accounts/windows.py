"""The windows of limits, in UTC: a minute, calendar periods, rolling periods, and none. Pure.

Times are integers: microseconds since the epoch. A calendar period begins at midnight UTC. A
rolling period is counted in 30 buckets; a bucket counts until all of it has left the period, so a
rolling limit may be up to a 30th of its period stricter than exact, and is never looser.
"""

import enum
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
BUCKETS = 30
_MAX_ROLLING_US = 3660 * DAY_US
_ROLLING = re.compile(r"([1-9][0-9]{0,4})([hd])")
_CALENDAR = ("day", "week", "month", "year")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Kind(enum.Enum):
    """How usage leaves a window."""

    RATE = enum.auto()
    """Continuously: what is used drains at the limit's rate."""
    CALENDAR = enum.auto()
    """Completely, when the calendar period ends."""
    ROLLING = enum.auto()
    """Bucket by bucket, as the buckets leave the period."""
    NONE = enum.auto()
    """Never: what is held is given back, or an amount is granted once."""


@dataclass(frozen=True, slots=True)
class Window:
    """`name`: minute, day, week, month, year, a rolling `30d` or `12h`, or `none`."""

    name: str
    kind: Kind
    length_us: int = 0
    """Of a rate's or rolling period; 0 for the others."""

    def start(self, now_us: int) -> int:
        """When the calendar period or the rolling bucket that has `now_us` began."""
        if self.kind is Kind.CALENDAR:
            return _period(self.name, now_us)[0]
        return now_us - now_us % self.bucket_us if self.kind is Kind.ROLLING else 0

    def end(self, now_us: int) -> int:
        """When the calendar period that has `now_us` ends."""
        return _period(self.name, now_us)[1]

    @property
    def bucket_us(self) -> int:
        """The length of a rolling period's bucket."""
        return self.length_us // BUCKETS


def parse_window(name: str) -> Window:
    """Raises ValueError, which says what is allowed."""
    if name == "minute":
        return Window(name, Kind.RATE, MINUTE_US)
    if name in _CALENDAR:
        return Window(name, Kind.CALENDAR)
    if name == "none":
        return Window(name, Kind.NONE)
    if match := _ROLLING.fullmatch(name):
        length_us = int(match[1]) * (HOUR_US if match[2] == "h" else DAY_US)
        if length_us <= _MAX_ROLLING_US:
            return Window(name, Kind.ROLLING, length_us)
    raise ValueError(
        f"'{name[:40]}' is not a window; use minute, day, week, month, year, none, or a rolling"
        " period such as 30d or 12h"
    )


def iso(moment_us: int) -> str:
    """A time as RFC 3339 in UTC, in whole seconds, rounded up."""
    return _moment(-(-moment_us // SECOND_US) * SECOND_US).strftime("%Y-%m-%dT%H:%M:%SZ")


_periods: dict[str, tuple[int, int]] = {}
"""The last one of each name: a request asks for its periods a dozen times."""


def _period(name: str, now_us: int) -> tuple[int, int]:
    """When the calendar period that has `now_us` begins and ends."""
    known = _periods.get(name)
    if known is None or not known[0] <= now_us < known[1]:
        start = _floor(name, _moment(now_us))
        known = _periods[name] = _micros(start), _micros(_next(name, start))
    return known


def _moment(moment_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=moment_us)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _floor(name: str, moment: datetime) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if name == "week":  # as ISO 8601: it begins on Monday
        return day - timedelta(days=day.weekday())
    if name == "month":
        return day.replace(day=1)
    return day.replace(month=1, day=1) if name == "year" else day


def _next(name: str, start: datetime) -> datetime:
    if name == "month":
        # 32 days after a first are always in the next month
        return (start + timedelta(days=32)).replace(day=1)
    if name == "year":
        return start.replace(year=start.year + 1)
    return start + timedelta(days=7 if name == "week" else 1)
