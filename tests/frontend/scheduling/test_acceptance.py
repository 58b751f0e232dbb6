"""The published figures of fair share, on a virtual clock."""

import random
from collections.abc import Callable

import pytest

from frontend.scheduling.jobs import Caps
from frontend.scheduling.policy import FairShare
from frontend.scheduling.ring import Quantum
from tests.support.shares import Asker, Pool

WEIGHTS = (1, 2, 3, 10)
Size = Callable[[random.Random], tuple[int, int]]


def constant(cost: int) -> Size:
    return lambda _: (cost, cost)


def heavy_tail(draw: random.Random) -> tuple[int, int]:
    """Sizes with a long tail, and estimates that are wrong by up to 16 times."""
    actual = min(int(50 * draw.paretovariate(1.2)), 5000)
    return max(int(actual * 16 ** draw.uniform(-1, 1)), 1), actual


def check_shares(pool: Pool, tolerance: float = 2.0) -> None:
    total = sum(one.weight for one in pool.askers)
    for one in pool.askers:
        assert abs(pool.share(one.name) - 100 * one.weight / total) <= tolerance
    assert pool.jain() >= 0.99


@pytest.mark.parametrize("size", [constant(100), constant(7), constant(3000), heavy_tail])
@pytest.mark.parametrize("slots", [1, 4, 32])
def test_weights(size: Size, slots: int) -> None:
    askers = [Asker(f"u{weight}", weight, size=size, depth=64) for weight in WEIGHTS]
    pool = Pool(FairShare(slots), askers)
    # as many jobs for each number of slots
    pool.run((3_000_000 if size is heavy_tail else size(random.Random())[1] * 4000) / slots)
    check_shares(pool)


def test_one_user_sends_jobs_twenty_times_longer() -> None:
    askers = [Asker("long", size=constant(2000)), *(Asker(f"u{n}") for n in range(3))]
    check_shares(Pool(FairShare(4), askers).run(300_000))


def test_who_declares_a_sixtieth_gains_nothing() -> None:
    askers = [Asker("liar", size=lambda _: (16, 1000)), *(Asker(f"u{n}") for n in range(3))]
    check_shares(Pool(FairShare(4), askers).run(300_000))


def test_one_to_three() -> None:
    check_shares(Pool(FairShare(1), [Asker("a"), Asker("b", 3)]).run(400_000), tolerance=0.5)


def test_who_joins_late_owes_and_claims_nothing() -> None:
    pool = Pool(FairShare(1), [Asker("early"), Asker("late", begins_s=300_000)])
    pool.run(300_000)
    assert pool.served["early"] >= 299_900
    pool.run(600_000)
    # at most the job that runs, then its own
    assert pool.first_s["late"] - 300_000 <= 200
    assert abs(pool.served["late"] - 150_000) <= 1000


@pytest.mark.parametrize("slots", [1, 8])
def test_one_user_alone_has_everything(slots: int) -> None:
    pool = Pool(FairShare(slots), [Asker("a", depth=2 * slots)]).run(50_000)
    assert pool.busy_s == 50_000 * slots


def test_who_cancels_at_ninety_per_cent_is_charged() -> None:
    askers = [Asker("canceller", size=lambda _: (1000, 900)), Asker("b", size=constant(1000))]
    check_shares(Pool(FairShare(2), askers).run(500_000))


def test_a_group_of_one_has_the_share_of_a_group_of_a_hundred() -> None:
    crowd = [Asker(f"c{n}", group="many") for n in range(100)]
    pool = Pool(FairShare(4), [Asker("single", group="one", depth=8), *crowd]).run(200_000)
    assert abs(pool.share("single") - 50) <= 2
    each = [pool.served[one.name] for one in crowd]
    assert max(each) - min(each) <= 2 * (10 + 100)


def test_groups_share_by_weight_and_their_users_within() -> None:
    askers = [
        Asker("a1", 1, "a", 1), Asker("a3", 3, "a", 1),
        Asker("b1", 1, "b", 3), Asker("b2", 2, "b", 3),
    ]  # fmt: skip
    pool = Pool(FairShare(2), askers).run(400_000)
    expected = {"a1": 6.25, "a3": 18.75, "b1": 25, "b2": 50}
    assert all(abs(pool.share(name) - share) <= 2 for name, share in expected.items())


def test_many_models_and_keys_are_one_share() -> None:
    spread = Asker("spread", model=lambda draw: f"m{draw.randrange(8)}", depth=64)
    check_shares(Pool(FairShare(4), [spread, Asker("plain")]).run(200_000))


def test_a_user_at_its_cap_is_passed_over_and_not_charged() -> None:
    policy = FairShare(4, caps=Caps(user=1))
    pool = Pool(policy, [Asker("heavy", 100), Asker("a", 1, depth=9)]).run(100_000)
    # one slot each: the cap leaves two slots empty, and the weight cannot be used
    assert abs(pool.share("heavy") - 50) <= 1
    policy = FairShare(4, caps=Caps(user=2))
    pool = Pool(policy, [Asker("heavy", 100, depth=9), Asker("a"), Asker("b")]).run(100_000)
    assert abs(pool.share("heavy") - 50) <= 2
    assert abs(pool.served["a"] - pool.served["b"]) <= 2000


def test_the_pool_is_as_busy_as_without_fairness() -> None:
    askers = [Asker(f"u{weight}", weight, size=heavy_tail, depth=3) for weight in WEIGHTS]
    pool = Pool(FairShare(8), askers).run(500_000)
    running = pool.policy.running
    assert running == 8
    # all slots, without what still runs
    assert pool.busy_s >= 0.95 * 8 * 500_000 - 8 * 20_000


def test_a_model_without_room_holds_up_nobody_else() -> None:
    full = Pool(FairShare(8), [])
    full.has_capacity = lambda model: model != "full" or full.running["full"] < 1
    waits = Asker("waits", model=lambda _: "full", depth=16)
    both = Asker("both", model=lambda draw: draw.choice(["full", "free"]), depth=64)
    full.askers += [waits, both, Asker("free", model=lambda _: "free", depth=16)]
    full.run(100_000)
    assert full.policy.running == 8
    assert full.busy_s >= 0.95 * 8 * 100_000


def test_a_clock_that_jumps_changes_no_share() -> None:
    pool = Pool(FairShare(1, Quantum(burst_rounds=4)), [Asker("a"), Asker("b", 3)])
    pool.run(200_000)
    for jump_s in (1e9, -2e9):
        pool.jump(jump_s)
        pool.run(pool.now_s + 200_000)
    check_shares(pool)


def test_who_joins_late_does_not_wait_for_refunds_of_estimates() -> None:
    early = Asker("early", size=lambda _: (5000, 100), depth=64)
    pool = Pool(FairShare(4), [early, Asker("late", begins_s=50_000)])
    pool.run(60_000)
    assert pool.first_s["late"] - 50_000 <= 5000
    before = dict(pool.served)
    pool.run(160_000)
    whole = sum(pool.served.values()) - sum(before.values())
    assert (pool.served["late"] - before["late"]) / whole >= 0.48
