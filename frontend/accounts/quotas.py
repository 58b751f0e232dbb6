"""Reserves what a request needs in all of its limits, or in none. Pure.

A refusal does not change a counter. A grant is at most what every budget has left, so the length of
an answer is limited before it is generated, and budgets are never exceeded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from frontend.accounts.limits import (
    Counter,
    Key,
    Limit,
    Measure,
    left,
    reset_us,
    settle,
    take,
)
from frontend.accounts.windows import Kind

Counters = Mapping[Key, Counter]
Holds = tuple[tuple[Limit, int], ...]
"""What a request has reserved of each limit."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a request needs: `prompt` tokens, at most `output` more, and no less than `least`.

    `requests` is 0 for a request that has been counted and needs more tokens. `estimated`: `prompt`
    is only an upper bound, good enough for who has plenty left.
    """

    prompt: int
    output: int = 0
    least: int = 0
    requests: int = 1
    estimated: bool = False


PLENTY = 8
"""Times what a request may need. Below that its prompt is counted, not estimated: a reservation
that is too large would keep other requests out."""


class Tight:
    """Little is left, so the prompt's tokens must be counted first."""


@dataclass(frozen=True, slots=True)
class Grant:
    """`output`: the most tokens that may be generated. `lowered_by`: the limit that lowered it."""

    holds: Holds
    output: int
    lowered_by: Limit | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """`limit` has `left` and not `needed`; waiting `wait_us` can help, or never (None). `reset_us`:
    until it is whole again. Both count from `now_us`."""

    limit: Limit
    left: int
    needed: int
    now_us: int
    wait_us: int | None
    reset_us: int


def reserve(
    limits: Sequence[Limit], counters: Counters, need: Need, now_us: int
) -> Grant | Refusal | Tight:
    """Reserves in all scopes, in one atomic step. Of several refusals it returns the longest."""
    if need.estimated and _is_tight(limits, counters, need, now_us):
        return Tight()
    refusals = [
        refusal
        for limit in limits
        if (refusal := _refusal(limit, counters[limit.key], need, now_us)) is not None
    ]
    if refusals:
        return max(refusals, key=_duration)
    output, lowered_by = need.output, None
    for limit in limits:
        if limit.measure is Measure.TOKENS:
            most = _most_tokens(limit, counters[limit.key], now_us) - need.prompt
            if most < output:
                output, lowered_by = most, limit
    holds = tuple((limit, amount_of(limit, need, output)) for limit in limits)
    for limit, amount in holds:
        take(limit, counters[limit.key], amount, now_us)
    return Grant(tuple(hold for hold in holds if hold[1]), output, lowered_by)


def settle_all(
    holds: Iterable[tuple[Limit, int]],
    counters: Counters,
    tokens: int | None,
    now_us: int,
) -> None:
    """Settles every hold with the tokens used. None: it never ran, so it costs nothing."""
    for limit, amount in holds:
        settle(limit, counters[limit.key], amount, used_of(limit, amount, tokens), now_us)


def used_of(limit: Limit, amount: int, tokens: int | None) -> int:
    """The used part of a hold of `amount`. Tokens of None: it never ran."""
    if tokens is None or limit.measure is Measure.CONCURRENCY:
        return 0
    return tokens if limit.measure is Measure.TOKENS else amount


def amount_of(limit: Limit, need: Need, output: int) -> int:
    """The amount that a request with an answer of `output` tokens reserves."""
    if limit.measure is Measure.TOKENS:
        return need.prompt + output
    return need.requests


def needed_of(limit: Limit, need: Need) -> int:
    """The amount that a limit must have left for the request to be granted."""
    if limit.measure is not Measure.TOKENS:
        return need.requests
    needed = need.prompt + need.least
    if limit.window.kind is Kind.RATE and needed <= limit.amount:
        # a rate makes the whole answer wait; more than its burst would wait forever
        needed = min(need.prompt + need.output, limit.amount)
    return needed


def _is_tight(limits: Sequence[Limit], counters: Counters, need: Need, now_us: int) -> bool:
    plenty = PLENTY * (need.prompt + need.output)
    return any(
        limit.measure is Measure.TOKENS and left(limit, counters[limit.key], now_us) < plenty
        for limit in limits
    )


def _most_tokens(limit: Limit, counter: Counter, now_us: int) -> int:
    """Tokens that one request may have of a limit. A rate does not cut an answer, unless the answer
    could never be sent: the request waits until the rate allows it."""
    if limit.window.kind is Kind.RATE:
        return limit.amount
    return left(limit, counter, now_us)


def _refusal(limit: Limit, counter: Counter, need: Need, now_us: int) -> Refusal | None:
    free, needed = left(limit, counter, now_us), needed_of(limit, need)
    if free >= needed:
        return None
    wait_us = reset_us(limit, counter, now_us, needed) if needed <= limit.amount else None
    return Refusal(limit, max(free, 0), needed, now_us, wait_us, reset_us(limit, counter, now_us))


def _duration(refusal: Refusal) -> float:
    return float("inf") if refusal.wait_us is None else refusal.wait_us
