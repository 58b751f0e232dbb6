"""One limit and its counter: the amount left, and the effect of reserving and settling. Pure.

A rate is a GCRA (ITU-T I.371): `at_us` is the theoretical arrival time, and the whole limit may
arrive as one burst. Of every other window a counter holds what is used and what is reserved. What
is reserved outlives its window, so every settle finds what its reserve took; no count is ever
negative, and left = amount - used - reserved wherever nothing was lowered meanwhile.
"""

import enum
from dataclasses import dataclass, field

from frontend.accounts.windows import MINUTE_US, Kind, Window


class Measure(enum.StrEnum):
    """The quantity that a limit counts."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    CONCURRENCY = "concurrency"


class Scope(enum.StrEnum):
    """The holder whose requests a limit counts, from the widest to the narrowest."""

    ORGANISATION = "organisation"
    GROUP = "group"
    USER = "user"
    KEY = "key"


Key = tuple[str, str, str, str, str]
"""Scope, subject, model, measure and window."""


@dataclass(frozen=True, slots=True)
class Limit:
    """`amount` per window for the subject with the id `subject`. A `model` of "" is every model."""

    scope: Scope
    subject: str
    measure: Measure
    window: Window
    amount: int
    model: str = ""
    key: Key = field(init=False, repr=False, compare=False)
    """The name that its counter is stored under. It is not the quota's id: a quota that is deleted
    and created again continues with the same usage."""

    def __post_init__(self) -> None:
        key = self.scope, self.subject, self.model, self.measure, self.window.name
        object.__setattr__(self, "key", key)

    @property
    def is_brief(self) -> bool:
        """Whether what it counts ends within a minute, or with the request."""
        return self.window.kind is Kind.RATE or self.measure is Measure.CONCURRENCY

    @property
    def is_budget(self) -> bool:
        """Whether waiting a little does not help: tokens over more than a minute."""
        return self.measure is Measure.TOKENS and self.window.kind is not Kind.RATE


@dataclass(slots=True)
class Counter:
    """`start_us`: of the calendar period that `used` belongs to, or the latest bucket."""

    used: int = 0
    reserved: int = 0
    start_us: int = 0
    at_us: int = 0
    buckets: dict[int, int] = field(default_factory=dict)


def roll(limit: Limit, counter: Counter, now_us: int) -> None:
    """Removes usage that has left the window. A clock that goes back has no effect."""
    if limit.window.kind is Kind.CALENDAR:
        if (start_us := limit.window.start(now_us)) > counter.start_us:
            counter.used, counter.start_us = 0, start_us
    elif limit.window.kind is Kind.ROLLING:
        counter.start_us = max(counter.start_us, limit.window.start(now_us))
        oldest_us = counter.start_us - limit.window.length_us
        gone = [start_us for start_us in counter.buckets if start_us < oldest_us]
        for start_us in gone:
            counter.used -= counter.buckets.pop(start_us)
    elif limit.window.kind is Kind.RATE:
        # after a clock that was ahead, nobody waits longer than two periods; with one, a gateway
        # whose clock is behind would forget what another has granted
        counter.at_us = min(counter.at_us, now_us + 2 * limit.window.length_us)


def left(limit: Limit, counter: Counter, now_us: int) -> int:
    """The amount that can be reserved now; below 0 if the limit was lowered."""
    roll(limit, counter, now_us)
    if limit.window.kind is Kind.RATE:
        free_us = limit.window.length_us - max(counter.at_us - now_us, 0)
        return free_us * limit.amount // limit.window.length_us
    return limit.amount - counter.used - counter.reserved


def take(limit: Limit, counter: Counter, amount: int, now_us: int) -> None:
    """Reserves, after `left` has said that it may."""
    if limit.window.kind is Kind.RATE:
        counter.at_us = max(counter.at_us, now_us) + cost_us(limit, amount)
    else:
        counter.reserved += amount


def settle(limit: Limit, counter: Counter, reserved: int, actual: int, now_us: int) -> None:
    """Replaces a reservation with what was used."""
    roll(limit, counter, now_us)
    if limit.window.kind is Kind.RATE:
        counter.at_us += cost_us(limit, actual) - cost_us(limit, reserved)
        return
    counter.reserved = max(counter.reserved - reserved, 0)
    if limit.measure is Measure.CONCURRENCY:
        return
    counter.used += actual
    if limit.window.kind is Kind.ROLLING:
        start_us = counter.start_us
        counter.buckets[start_us] = counter.buckets.get(start_us, 0) + actual


def reset(counter: Counter) -> None:
    """Sets the usage to 0; reservations are kept, because they will be settled."""
    counter.used = counter.at_us = 0
    counter.buckets.clear()


def reset_us(limit: Limit, counter: Counter, now_us: int, needed: int | None = None) -> int:
    """Microseconds until the limit is whole again, or until `needed` of it can be reserved.

    Running requests may free it earlier; when they end is not known.
    """
    roll(limit, counter, now_us)
    kind = limit.window.kind
    if kind is Kind.RATE:
        used_us = max(counter.at_us - now_us, 0)
        if needed is None:
            return used_us
        return max(used_us + cost_us(limit, needed) - limit.window.length_us, 0)
    if kind is Kind.CALENDAR:
        return max(limit.window.end(counter.start_us or now_us) - now_us, 0)
    if kind is Kind.ROLLING:
        return _rolled_us(limit, counter, now_us, needed)
    return 0


def _rolled_us(limit: Limit, counter: Counter, now_us: int, needed: int | None) -> int:
    most = limit.amount - counter.reserved - (limit.amount if needed is None else needed)
    used, wait_us = counter.used, 0
    for start_us in sorted(counter.buckets):
        if used <= max(most, 0):
            break
        used -= counter.buckets[start_us]
        # the end of the bucket has to leave the period, too
        wait_us = start_us + limit.window.length_us + limit.window.bucket_us - now_us
    return max(wait_us, 0)


def cost_us(limit: Limit, amount: int) -> int:
    """How far an amount moves a rate's theoretical arrival time, rounded up."""
    # a limit may be 0, which admits nothing
    return -(-amount * limit.window.length_us // max(limit.amount, 1))


MAX_AMOUNT = 10**15
"""Of a limit: with it no product of two numbers here exceeds what SQL's BIGINT holds."""
assert MAX_AMOUNT // MINUTE_US * MINUTE_US < 2**63
