"""Credits in double entry always add up to 0; plans change in mid-period as documented."""

import contextlib
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from frontend.accounts.credits import (
    CREDIT,
    Account,
    Balance,
    NotEnough,
    Reason,
    Transfer,
    settle,
    transfer,
)
from frontend.accounts.plans import Plan, Subscription, change, renew
from frontend.accounts.prices import Price, price_of
from frontend.accounts.windows import DAY_US, SECOND_US
from frontend.domain.usage import Usage

SEEDED = (
    Plan("free", 100 * CREDIT),
    Plan("developer", 1_000 * CREDIT),
    Plan("pro", None),
    Plan("teams", 10_000 * CREDIT, shared=True),
    Plan("enterprise", None, shared=True),
)
PLANS = {plan.name: plan for plan in SEEDED}
MIDDLE_US = int(datetime(2026, 11, 16, tzinfo=UTC).timestamp()) * SECOND_US


def books(moves: list[Transfer]) -> dict[Account, int]:
    """The balance of every account, from the entries alone."""
    sums = dict.fromkeys(Account, 0)
    for move in moves:
        for account, amount in move.legs:
            sums[account] += amount
    return sums


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(Reason), st.integers(0, 50), st.integers(0, 50)), max_size=40
    )
)
def test_entries_add_up_and_nothing_becomes_negative(
    steps: list[tuple[Reason, int, int]],
) -> None:
    balance, moves = Balance(), list[Transfer]()
    for reason, amount, cost in steps:
        with contextlib.suppress(NotEnough):
            moves.append(transfer(balance, reason, amount))
        if reason is Reason.RESERVE and balance.reserved >= amount:
            moves += settle(balance, amount, cost)
        sums = books(moves)
        assert sum(sums.values()) == 0
        for account in (Account.AVAILABLE, Account.RESERVED, Account.SPENT, Account.EXPIRED):
            assert sums[account] == getattr(balance, account) >= 0


def subscribed(name: str, now_us: int = MIDDLE_US) -> tuple[Subscription, Balance]:
    subscription, balance = Subscription(PLANS[name]), Balance()
    renew(subscription, balance, now_us)
    return subscription, balance


def test_a_new_period_grants_once_and_the_rest_expires() -> None:
    subscription, balance = subscribed("free")
    assert balance.available == 100 * CREDIT
    assert renew(subscription, balance, MIDDLE_US + DAY_US) == []
    transfer(balance, Reason.RESERVE, 30 * CREDIT)
    settle(balance, 30 * CREDIT, 30 * CREDIT)
    renew(subscription, balance, MIDDLE_US + 15 * DAY_US)
    assert (balance.available, balance.spent, balance.expired) == (
        100 * CREDIT, 30 * CREDIT, 70 * CREDIT,
    )  # fmt: skip
    assert renew(subscription, balance, MIDDLE_US) == [], "the clock went back"


def test_an_upgrade_grants_the_difference_for_the_rest_of_the_period() -> None:
    subscription, balance = subscribed("free")
    transfer(balance, Reason.RESERVE, 40 * CREDIT)
    change(subscription, balance, PLANS["developer"], MIDDLE_US)
    assert subscription.plan.name == "developer"
    assert balance.available == (60 + 900 // 2) * CREDIT
    assert balance.reserved == 40 * CREDIT


def test_an_edited_plan_is_compared_with_what_the_period_got() -> None:
    subscription, balance = subscribed("free")
    subscription.plan = Plan("free", 500 * CREDIT)  # as it is read after the edit
    change(subscription, balance, PLANS["developer"], MIDDLE_US)
    assert balance.available == (100 + 900 // 2) * CREDIT
    # a plan with less than the period got waits, even if the current one now has less still
    subscription.plan = Plan("developer", 10 * CREDIT)
    assert change(subscription, balance, PLANS["free"], MIDDLE_US) == []
    assert subscription.next_plan is PLANS["free"]
    subscription.plan = Plan("developer", 2_000 * CREDIT)
    renew(subscription, balance, MIDDLE_US + 20 * DAY_US)
    assert subscription.credits == balance.available == 100 * CREDIT


def test_a_downgrade_waits_for_the_next_period_and_can_be_taken_back() -> None:
    subscription, balance = subscribed("developer")
    assert change(subscription, balance, PLANS["free"], MIDDLE_US) == []
    assert (subscription.plan.name, balance.available) == ("developer", 1_000 * CREDIT)
    assert subscription.next_plan is PLANS["free"]
    change(subscription, balance, PLANS["developer"], MIDDLE_US)
    assert subscription.next_plan is None
    change(subscription, balance, PLANS["free"], MIDDLE_US)
    renew(subscription, balance, MIDDLE_US + 20 * DAY_US)
    assert (subscription.plan.name, balance.available) == ("free", 100 * CREDIT)


@given(
    st.lists(
        st.tuples(st.sampled_from(SEEDED), st.integers(0, 20 * DAY_US), st.integers(0, 300)),
        max_size=30,
    )
)
def test_no_sequence_of_changes_grants_more_than_the_best_plan_a_month(
    steps: list[tuple[Plan, int, int]],
) -> None:
    subscription, balance = subscribed("free")
    now_us, months = MIDDLE_US, {(2026, 11)}
    for plan, wait_us, used in steps:
        now_us += wait_us
        months.add(datetime.fromtimestamp(now_us / SECOND_US, UTC).timetuple()[:2])
        change(subscription, balance, plan, now_us)
        transfer(balance, Reason.RESERVE, amount := min(used * CREDIT, balance.available))
        settle(balance, amount, amount)
    most = max(plan.credits or 0 for plan in SEEDED)
    granted = balance.available + balance.reserved + balance.spent + balance.expired
    assert granted <= most * len(months)


def test_cached_tokens_are_priced_as_cached_and_rounded_once() -> None:
    price = Price("m", prompt=3_000_000, cached=300_000, completion=15_000_000, image=7)
    usage = Usage(prompt_tokens=1000, cached_tokens=800, completion_tokens=10)
    assert price.cost(usage, images=2) == 200 * 3 + 800 * 3 // 10 + 10 * 15 + 14
    assert Price(prompt=1).cost(Usage(499_999)) == 0
    assert Price(prompt=1).cost(Usage(500_000)) == 1


def test_the_most_specific_price_in_effect_counts() -> None:
    table = [
        Price("*", prompt=1),
        Price("m", prompt=2),
        Price("m", prompt=3, from_us=10),
        Price("m", "elsewhere", prompt=4),
    ]
    assert price_of(table, "x", "triton", 20).prompt == 1
    assert price_of(table, "m", "triton", 5).prompt == 2
    assert price_of(table, "m", "triton", 20).prompt == 3
    assert price_of(table, "m", "elsewhere", 20).prompt == 4
    assert price_of([], "m", "triton", 0).credits == CREDIT
