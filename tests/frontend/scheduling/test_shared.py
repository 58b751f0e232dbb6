"""Two processes that exchange what they have served give every user its share of both."""

from frontend.scheduling.policy import FairShare
from frontend.scheduling.shared import charge_elsewhere
from tests.support.shares import Asker, Pool


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
