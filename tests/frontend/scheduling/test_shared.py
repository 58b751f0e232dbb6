"""Two processes that exchange what they have served give every user its share of both."""

from collections import Counter
from dataclasses import replace

import pytest

from frontend.scheduling.policy import FairShare
from frontend.scheduling.shared import charge_elsewhere
from tests.frontend.scheduling.test_acceptance import Size, fixed, heavy_tail
from tests.support.shares import Asker, Pool

ALL = (1, 2, 3, 10)
Errors = tuple[float, float]
DESIGNS: dict[str, tuple[Size, tuple[int, ...], tuple[int, ...], Errors, Errors]] = {
    "all at both, equal requests": (fixed(100), ALL, ALL, (0.0, 0.0), (0.0, 0.0)),
    "all at both, long tail": (heavy_tail, ALL, ALL, (11.31, 4.12), (0.21, 0.42)),
    "two at one gateway only, equal requests": (
        fixed(100), (1, 2, 10), (1, 3, 10), (1.12, 0.0), (0.03, 0.0),
    ),
    "two at one gateway only, long tail": (
        heavy_tail, (1, 2, 10), (1, 3, 10), (28.81, 2.92), (0.21, 0.22),
    ),
    "three at one gateway only, equal requests": (
        fixed(100), (1, 10), (2, 3, 10), (1.62, 0.0), (0.04, 0.0),
    ),
}  # fmt: skip
"""Sizes of requests, weights of the users at each of two gateways, and the errors of shares in
percentage points after 10 exchanges and after 400: with an exchange of what was served, and with
one place for all deficits."""


def run_both(one: list[Asker], two: list[Asker], until_s: float, every_s: float = 1000) -> Pool:
    """Exchanges regularly; returns a pool with what both have served."""
    pools = [Pool(FairShare(4), one), Pool(FairShare(4), two)]
    seen = [0, 0]
    now_s = 0.0
    while now_s < until_s:
        now_s += every_s
        for pool in pools:
            pool.run(now_s)
        news = [pool.ended[old:] for pool, old in zip(pools, seen, strict=True)]
        seen = [len(pool.ended) for pool in pools]
        for pool, new in zip(pools, reversed(news), strict=True):
            served: dict[tuple[str, str], int] = {}
            groups = {each.name: each.group for each in (*one, *two)}
            for user, tokens in new:
                pair = groups[user], user
                served[pair] = served.get(pair, 0) + tokens
            competing = {(each.group, each.name) for each in pool.askers}
            charge_elsewhere(pool.policy, served, competing)
    both = Pool(FairShare(4), list({each.name: each for each in (*one, *two)}.values()))
    for pool in pools:
        for user, tokens in pool.served.items():
            both.served[user] += tokens
    return both


def check(both: Pool) -> None:
    whole = sum(each.weight for each in both.askers)
    for each in both.askers:
        assert abs(both.share(each.name) - 100 * each.weight / whole) <= 2
    assert both.jain() >= 0.99


def asker(weight: int, group: str = "") -> Asker:
    return Asker(f"u{weight}", weight, group, depth=16)


def run_one(one: list[Asker], two: list[Asker], until_s: float) -> Pool:
    """One scheduler for both processes, or deficits that both keep in one place: every decision is
    made with all that is known, on all slots."""
    depths = Counter[str]()
    for each in (*one, *two):
        depths[each.name] += each.depth
    askers = {each.name: replace(each, depth=depths[each.name]) for each in (*one, *two)}
    return Pool(FairShare(8), [*askers.values()]).run(until_s)


def error(pool: Pool) -> float:
    """The largest difference of a user's share from what is due, in percentage points."""
    whole = sum(each.weight for each in pool.askers)
    return max(abs(pool.share(each.name) - 100 * each.weight / whole) for each in pool.askers)


@pytest.mark.parametrize("name", DESIGNS)
def test_share_errors_of_both_designs_are_as_recorded(name: str) -> None:
    """The figures are those of docs/decisions/0051; a change of the exchange changes them."""
    size, here, there, soon, later = DESIGNS[name]
    one, two = (
        [Asker(f"u{weight}", weight, size=size, depth=16) for weight in weights]
        for weights in (here, there)
    )
    for until_s, recorded in ((10_000, soon), (400_000, later)):
        exchanged, central = run_both(one, two, until_s), run_one(one, two, until_s)
        assert (round(error(exchanged), 2), round(error(central), 2)) == recorded
    assert error(exchanged) <= 2
    # neither leaves a slot empty
    assert sum(exchanged.served.values()) == pytest.approx(sum(central.served.values()), rel=0.05)


def test_all_users_at_both() -> None:
    all_four = [asker(weight) for weight in (1, 2, 3, 10)]
    check(run_both(all_four, all_four, 200_000))


def test_some_users_at_one_of_them() -> None:
    check(run_both([asker(1), asker(2), asker(10)], [asker(1), asker(3), asker(10)], 200_000))


def test_who_sends_to_both_has_no_more_than_who_sends_to_one() -> None:
    plain, both = Asker("plain", depth=16), Asker("both", depth=16)
    check(run_both([plain, both], [both], 200_000))


def test_groups_share_over_both_as_well() -> None:
    one = [asker(1, "a"), asker(2, "b")]
    two = [asker(1, "a"), asker(3, "b")]
    shares = run_both(one, two, 200_000)
    # each group has a half; the users of `b` have theirs where they are
    assert abs(shares.share("u1") - 50) <= 2


def test_a_debt_to_another_process_is_bounded() -> None:
    policy = FairShare(1)
    pool = Pool(policy, [Asker("a"), Asker("b")]).run(10_000)
    pairs = {("", "a"), ("", "b")}
    for _ in range(50):
        charge_elsewhere(policy, {("", "b"): 10_000}, pairs)
    pool.ended.clear()
    pool.run(10_000 + 3 * 40_000)
    # it pays at most a few intervals of it, then it has its half again
    assert {user for user, _ in pool.ended} == {"a", "b"}
