"""Plans: credits per month, shared or not, and the effect of a change of plan. Pure.

An upgrade takes effect now: the holder gets the difference between the two plans' credits for the
rest of the period, and usage is kept. A downgrade takes effect with the next period, so that paid
credits are not removed. Remaining credits expire with their period. Who edits a plan changes what
later periods get, so a change in mid-period is compared with what this one got.
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
    """`next_plan` begins when the period ends. `credits` are those of the plan when this period
    began or the plan was taken; None: unlimited."""

    plan: Plan
    period_start_us: int = 0
    next_plan: Plan | None = None
    credits: int | None = 0


def renew(subscription: Subscription, balance: Balance, now_us: int) -> list[Transfer]:
    """Begins a new period if the last one has ended: old credits expire, the plan's are added.

    Time that goes back begins nothing.
    """
    if (start_us := _MONTH.start(now_us)) <= subscription.period_start_us:
        return []
    # skipped months do not grant anything: their credits would have expired by now
    subscription.period_start_us = start_us
    if subscription.next_plan is not None:
        subscription.plan, subscription.next_plan = subscription.next_plan, None
    subscription.credits = subscription.plan.credits
    moves = []
    if balance.available:
        moves.append(transfer(balance, Reason.EXPIRE, balance.available))
    if subscription.plan.credits:
        moves.append(transfer(balance, Reason.GRANT, subscription.plan.credits))
    return moves


def change(subscription: Subscription, balance: Balance, plan: Plan, now_us: int) -> list[Transfer]:
    """Changes the plan within a period."""
    moves = renew(subscription, balance, now_us)
    if plan == subscription.plan:
        subscription.next_plan = None
        return moves
    had = subscription.credits
    if plan.credits is not None and (had is None or plan.credits < had):
        subscription.next_plan = plan
        return moves
    subscription.plan, subscription.next_plan, subscription.credits = plan, None, plan.credits
    if plan.credits is not None and had is not None:
        more = plan.credits - had
        left_us = _MONTH.end(now_us) - now_us
        length_us = _MONTH.end(now_us) - _MONTH.start(now_us)
        # rounded up, in favour of the holder
        if amount := -(-more * left_us // length_us):
            moves.append(transfer(balance, Reason.GRANT, amount))
    return moves
