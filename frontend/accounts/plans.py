"""Plans: credits per month, whose they are, and what a change of plan does. Pure.

An upgrade counts at once: the holder gets the difference between the two plans' credits for what is
left of the period, and what was used stays used. A downgrade counts from the next period on, so
nothing that was paid for is taken away. Credits that are left expire with their period.
"""

from dataclasses import dataclass

from frontend.accounts.credits import Balance, Reason, Transfer, transfer
from frontend.accounts.windows import parse_window

_MONTH = parse_window("month")


@dataclass(frozen=True, slots=True)
class Plan:
    """`credits` per calendar month, in millionths; None: unlimited.

    `shared`: a group or an organisation subscribes, and its members have one pool.
    """

    name: str
    credits: int | None
    shared: bool = False


@dataclass(slots=True)
class Subscription:
    """`next_plan` begins when the period ends."""

    plan: Plan
    period_start_us: int = 0
    next_plan: Plan | None = None


def renew(subscription: Subscription, balance: Balance, now_us: int) -> list[Transfer]:
    """Begins a new period where the last one has ended: the rest expires, the plan's credits come.

    Time that goes back begins nothing.
    """
    if (start_us := _MONTH.start(now_us)) <= subscription.period_start_us:
        return []
    # skipped months do not grant anything: their credits would have expired by now
    subscription.period_start_us = start_us
    if subscription.next_plan is not None:
        subscription.plan, subscription.next_plan = subscription.next_plan, None
    moves = []
    if balance.available:
        moves.append(transfer(balance, Reason.EXPIRE, balance.available))
    if subscription.plan.credits:
        moves.append(transfer(balance, Reason.GRANT, subscription.plan.credits))
    return moves


def change(subscription: Subscription, balance: Balance, plan: Plan, now_us: int) -> list[Transfer]:
    """Another plan in the middle of a period."""
    moves = renew(subscription, balance, now_us)
    before = subscription.plan
    if plan == before:
        subscription.next_plan = None
        return moves
    if _is_less(plan, before):
        subscription.next_plan = plan
        return moves
    subscription.plan, subscription.next_plan = plan, None
    if plan.credits is not None and before.credits is not None:
        more = plan.credits - before.credits
        left_us = _MONTH.end(now_us) - now_us
        length_us = _MONTH.end(now_us) - _MONTH.start(now_us)
        # rounded up, in favour of the holder
        if amount := -(-more * left_us // length_us):
            moves.append(transfer(balance, Reason.GRANT, amount))
    return moves


def _is_less(plan: Plan, before: Plan) -> bool:
    if plan.credits is None:
        return False
    return before.credits is None or plan.credits < before.credits
