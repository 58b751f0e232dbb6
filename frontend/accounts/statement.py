"""The credits of a caller at a moment, for pages. It only reads.

A period that is due begins with the next request; it is shown as if it had begun.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from frontend.accounts.credits import Balance
from frontend.accounts.memory import subscription_of
from frontend.accounts.plans import Plan, renew
from frontend.accounts.purses import MONTH
from frontend.domain.metering import Owner
from frontend.store.ledger.books import Books


@dataclass(frozen=True, slots=True)
class Holding:
    """The credits of one holder: the user, or a group or an organisation that shares its own.

    `plan` is None where credits were granted without one, which end with nothing.
    """

    scope_kind: str
    scope_id: str
    balance: Balance
    plan: Plan | None
    next_plan: Plan | None
    period_start_us: int
    period_end_us: int


def read_holdings(books: Books, owner: Owner, now_us: int) -> Sequence[Holding]:
    """The credits that a caller may use, by holder; holders that never had any are left out."""
    scopes = ("user", owner.user), ("group", owner.group), ("organisation", owner.organisation)
    rows = books.subscriptions({one for _, one in scopes}, books.plans())
    found = []
    for kind, holder in scopes:
        names = books.balances((kind, holder))
        balance = Balance(*(names[one] for one in ("available", "reserved", "spent", "expired")))
        row = rows.get((kind, holder))
        subscription = None if row is None else subscription_of(row)
        if subscription is None and not names["granted"]:
            continue
        if subscription is not None:
            renew(subscription, balance, now_us)
        plan = None if subscription is None else subscription.plan
        following = None if subscription is None else subscription.next_plan
        start_us, end_us = MONTH.start(now_us), MONTH.end(now_us)
        found.append(Holding(kind, holder, balance, plan, following, start_us, end_us))
    return found
