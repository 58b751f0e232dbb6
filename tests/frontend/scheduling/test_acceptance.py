"""The published cases of fair share, on a virtual clock: each by its name, with its tolerance."""

import itertools
import random
from collections import defaultdict
from collections.abc import Callable

import pytest

from frontend.scheduling.jobs import Caps
from frontend.scheduling.policy import FairShare
from frontend.scheduling.ring import Quantum
from tests.support.shares import Asker, Pool

WEIGHTS = (1, 2, 3, 10)
Size = Callable[[random.Random], tuple[int, int]]


def fixed(estimate: int, actual: int | None = None) -> Size:
    return lambda _: (estimate, estimate if actual is None else actual)


def heavy_tail(draw: random.Random) -> tuple[int, int]:
    """Sizes with a long tail, and estimates that are wrong by up to 16 times."""
    actual = min(int(50 * draw.paretovariate(1.2)), 5000)
    return max(int(actual * 16 ** draw.uniform(-1, 1)), 1), actual


def weighted(weights: tuple[int, ...], size: Size) -> list[Asker]:
    return [Asker(f"u{n}", weight, size=size, depth=64) for n, weight in enumerate(weights)]


def beside_three(**one: object) -> list[Asker]:
    """One user beside three plain ones."""
    return [
        Asker("one", depth=64, **one),  # type: ignore[arg-type]
        *(Asker(f"u{n}", depth=64) for n in range(3)),
    ]


def groups(size: Size) -> list[Asker]:
    """Three groups of five users each."""
    return [
        Asker(f"{group}{n}", 1 + n % 2, group, weight, size=size, depth=64)
        for group, weight in (("a", 1), ("b", 2), ("c", 3))
        for n in range(5)
    ]


SHARES: dict[str, tuple[list[Asker], int]] = {
    "weights 1/2/3/10, constant jobs": (weighted(WEIGHTS, fixed(100)), 400_000),
    "weights 1/2/3/10, tiny jobs": (weighted(WEIGHTS, fixed(1)), 20_000),
    "weights 1/2/3/10, jobs beyond many rounds": (weighted(WEIGHTS, fixed(3000)), 12_000_000),
    "same, heavy-tail output, estimates wrong up to 16x": (
        weighted(WEIGHTS, heavy_tail),
        6_000_000,
    ),
    "weights 1/1/1/7": (weighted((1, 1, 1, 7), heavy_tail), 6_000_000),
    "weights 1/1000": (weighted((1, 1000), fixed(1000)), 20_000_000),
    "one flow sends 20x longer jobs": (beside_three(size=fixed(2000)), 1_000_000),
    "one flow sends only huge jobs": (
        [Asker("one", size=fixed(30_000), depth=64), *weighted((1, 1, 1), fixed(1000))],
        20_000_000,
    ),
    "one flow under-declares 60x": (beside_three(size=fixed(16, 1000)), 1_000_000),
    "one flow over-declares 60x": (beside_three(size=fixed(6000, 100)), 3_000_000),
    "cancels every stream at 90 %": (
        [Asker("one", size=fixed(1000, 900), depth=64), Asker("b", size=fixed(1000), depth=64)],
        2_000_000,
    ),
    "one user spreads over 8 models and 50 keys": (
        beside_three(
            model=lambda draw: f"m{draw.randrange(8)}", key=lambda draw: f"k{draw.randrange(50)}"
        ),
        400_000,
    ),
    "3 groups of 5 users": (groups(fixed(100)), 400_000),
    "3 groups of 5 users, heavy-tail output": (groups(heavy_tail), 8_000_000),
}


def parts(askers: list[Asker]) -> dict[str, float]:
    """What each user is due, in per cent."""
    by_group: defaultdict[str, int] = defaultdict(int)
    for one in askers:
        by_group[one.group] += one.weight
    weights = {one.group: one.group_weight for one in askers}
    whole = sum(weights.values())
    return {
        one.name: 100 * one.group_weight / whole * one.weight / by_group[one.group]
        for one in askers
    }


def check_shares(pool: Pool, tolerance: float = 2.0) -> None:
    due = parts(pool.askers)
    for name, part in due.items():
        assert abs(pool.share(name) - part) <= tolerance, (name, pool.share(name), part)
    each = [pool.served[name] / part for name, part in due.items()]
    assert sum(each) ** 2 / (len(each) * sum(one * one for one in each)) >= 0.99


@pytest.mark.parametrize("slots", [1, 4, 16])
@pytest.mark.parametrize("case", SHARES)
def test_shares(case: str, slots: int) -> None:
    askers, tokens = SHARES[case]
    pool = Pool(FairShare(slots), askers).run(tokens / slots)
    check_shares(pool)
    # with any backlog, no slot is empty; what still runs at the end is not in the sum
    runs = 2 * slots * max(actual for _, actual in pool.ended)
    assert pool.busy_s >= max(0.95 * tokens - runs, tokens - 2 * runs)


def test_weights_one_to_three() -> None:
    pool = Pool(FairShare(1), [Asker("a"), Asker("b", 3)]).run(400_000)
    check_shares(pool, tolerance=0.05)


def test_late_joiner_after_solo_use() -> None:
    pool = Pool(FairShare(1), [Asker("early"), Asker("late", begins_s=300_000)])
    pool.run(300_000)
    assert pool.served["early"] >= 299_900
    pool.run(600_000)
    # at most the job that runs, then its own
    assert pool.first_s["late"] - 300_000 <= 100
    assert abs(pool.served["late"] - 150_000) <= 200


def test_late_joiner_does_not_wait_for_refunds_of_estimates() -> None:
    early = Asker("early", size=fixed(5000, 100), depth=64)
    pool = Pool(FairShare(4), [early, Asker("late", begins_s=50_000)])
    pool.run(60_000)
    assert pool.first_s["late"] - 50_000 <= 5000
    before = dict(pool.served)
    pool.run(160_000)
    whole = sum(pool.served.values()) - sum(before.values())
    assert (pool.served["late"] - before["late"]) / whole >= 0.48


def test_users_who_come_and_go_leave_the_others_their_shares() -> None:
    stay = [Asker("a", 1, depth=16), Asker("b", 3, depth=16)]
    visits = [
        Asker(f"v{n}", 4, begins_s=50_000.0 * n, ends_s=50_000.0 * n + 25_000, depth=16)
        for n in range(8)
    ]
    pool = Pool(FairShare(4), [*stay, *visits]).run(400_000)
    assert abs(pool.served["b"] / pool.served["a"] - 3) <= 0.02
    # each has a half while it is there: nobody saves anything while away, or pays for others
    for one in visits:
        assert abs(pool.served[one.name] - 0.5 * 4 * 25_000) <= 2000


@pytest.mark.parametrize("slots", [1, 8])
def test_single_weight_one_flow_alone_has_every_slot(slots: int) -> None:
    pool = Pool(FairShare(slots), [Asker("a", depth=2 * slots)]).run(50_000)
    assert pool.busy_s == 50_000 * slots


def test_group_of_one_user_against_group_of_a_hundred() -> None:
    crowd = [Asker(f"c{n}", group="many") for n in range(100)]
    pool = Pool(FairShare(4), [Asker("single", group="one", depth=8), *crowd]).run(200_000)
    assert abs(pool.share("single") - 50) <= 2
    each = [pool.served[one.name] for one in crowd]
    assert max(each) - min(each) <= 2 * (10 + 100)


def test_flow_at_its_cap_is_passed_over_and_not_charged() -> None:
    policy = FairShare(4, caps=Caps(user=1))
    pool = Pool(policy, [Asker("heavy", 100), Asker("a", 1, depth=9)]).run(100_000)
    # one slot each: the cap leaves two slots empty, and the weight cannot be used
    assert abs(pool.share("heavy") - 50) <= 1
    policy = FairShare(4, caps=Caps(user=2))
    pool = Pool(policy, [Asker("heavy", 100, depth=9), Asker("a"), Asker("b")]).run(100_000)
    assert abs(pool.share("heavy") - 50) <= 2
    assert abs(pool.served["a"] - pool.served["b"]) <= 2000
    # of one key; the user's other key continues
    policy, keys = FairShare(4, caps=Caps(key=1)), itertools.cycle(["k1", "k2"])
    two = Asker("two", key=lambda _: next(keys), depth=16)
    pool = Pool(policy, [two, Asker("a", key=lambda _: "own", depth=16)]).run(100_000)
    assert abs(pool.served["two"] - 2 * pool.served["a"]) <= 400


def test_clock_jump_changes_no_share() -> None:
    pool = Pool(FairShare(1, Quantum(burst_rounds=4)), [Asker("a"), Asker("b", 3)])
    pool.run(200_000)
    for jump_s in (1e9, -2e9):
        pool.jump(jump_s)
        pool.run(pool.now_s + 200_000)
    check_shares(pool)


def test_pool_is_as_busy_as_without_fairness() -> None:
    askers = [Asker(f"u{weight}", weight, size=heavy_tail, depth=3) for weight in WEIGHTS]
    pool = Pool(FairShare(8), askers).run(500_000)
    assert pool.policy.running == 8
    # all slots, without what still runs
    assert pool.busy_s >= 0.95 * 8 * 500_000 - 8 * 20_000


def test_model_without_room_holds_up_nobody_else() -> None:
    full = Pool(FairShare(8), [])
    full.has_capacity = lambda model: model != "full" or full.running["full"] < 1
    waits = Asker("waits", model=lambda _: "full", depth=16)
    both = Asker("both", model=lambda draw: draw.choice(["full", "free"]), depth=64)
    full.askers += [waits, both, Asker("free", model=lambda _: "free", depth=16)]
    full.run(100_000)
    assert full.policy.running == 8
    assert full.busy_s >= 0.95 * 8 * 100_000
