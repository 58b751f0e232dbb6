"""Properties of fair share: the published bound, no slot that idles, nothing left behind."""

import itertools
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontend.scheduling import tree as trees
from frontend.scheduling.jobs import Caps, Flow, Job
from frontend.scheduling.policy import FairShare
from frontend.scheduling.ring import BURST_S, PARTS, Quantum, Ring
from tests.support.shares import Asker, Pool

QUANTA = st.sampled_from([1, 10, 500])
COSTS = st.integers(1, 3000)


def anywhere(_: str) -> bool:
    return True


def job(user: str = "a", cost: int = 100, weight: int = 1, model: str = "m", **more: object) -> Job:
    return Job(f"{user} {cost}", user, model, cost, weight, **more)  # type: ignore[arg-type]


Costs = list[tuple[int, int]]
FLOWS = st.lists(
    st.tuples(
        st.integers(1, 12),
        # estimates and actual costs; small ones often, because there the quantum weighs most
        st.lists(st.tuples(COSTS | st.integers(1, 3), COSTS | st.integers(1, 3)), min_size=1),
    ),
    min_size=2,
    max_size=6,
)


def check_bound(policy: FairShare, flows: list[tuple[int, Costs]], *, as_groups: bool) -> None:
    """|served_i/w_i - served_j/w_j| <= 2 (Q + max cost) / min(w) over any interval, for flows that
    always wait. Each slot may hold one more cost that is not known yet."""
    endless = [itertools.cycle(costs) for _, costs in flows]
    running: list[tuple[Job, int]] = []
    waiting: dict[Job, int] = {}

    def ask(number: int) -> None:
        (estimate, actual), weight = next(endless[number]), flows[number][0]
        group: dict[str, Any] = {"group": str(number), "group_weight": weight} if as_groups else {}
        one = job(str(number), estimate, weight, **group)
        waiting[one] = actual
        policy.add(one, 0)

    for number in range(len(flows)):
        for _ in range(policy.slots + 1):
            ask(number)
    served = [0] * len(flows)
    gaps: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    for _ in range(150):
        while (begun := policy.next(0, anywhere)) is not None:
            running.append((begun, waiting.pop(begun)))
            ask(int(begun.user))
        assert len(running) == policy.slots
        one, actual = running.pop(0)
        served[int(one.user)] += actual
        policy.end(one, 0)
        policy.settle(one, actual)
        for i, j in itertools.combinations(range(len(flows)), 2):
            gaps[i, j].append(served[i] / flows[i][0] - served[j] / flows[j][0])
    for (i, j), seen in gaps.items():
        largest = max(max(pair) for flow in (flows[i], flows[j]) for pair in flow[1])
        least = min(flows[i][0], flows[j][0])
        # between any two moments, so the largest difference of differences
        bound = 2 * (policy.quantum.tokens + policy.slots * largest) / least
        assert max(seen) - min(seen) <= bound


@settings(max_examples=40, deadline=None)
@given(quantum=QUANTA, flows=FLOWS, as_groups=st.booleans())
def test_the_published_bound_holds_over_any_interval(
    quantum: int, flows: list[tuple[int, Costs]], as_groups: bool
) -> None:
    right = [(weight, [(actual, actual) for _, actual in costs]) for weight, costs in flows]
    check_bound(FairShare(1, Quantum(quantum)), right, as_groups=as_groups)


@settings(max_examples=40, deadline=None)
@given(quantum=QUANTA, flows=FLOWS, slots=st.integers(1, 4), as_groups=st.booleans())
def test_the_bound_holds_for_estimates_that_are_wrong(
    quantum: int, flows: list[tuple[int, Costs]], slots: int, as_groups: bool
) -> None:
    check_bound(FairShare(slots, Quantum(quantum)), flows, as_groups=as_groups)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), slots=st.integers(1, 4), cap=st.integers(0, 2))
def test_whatever_happens_no_slot_idles_and_nothing_is_left(
    data: st.DataObject, slots: int, cap: int
) -> None:
    policy = FairShare(slots, Quantum(10), Caps(user=cap, key=cap and 1))
    waiting: list[Job] = []
    running: list[Job] = []
    charged: defaultdict[str, int] = defaultdict(int)
    for _ in range(data.draw(st.integers(1, 60))):
        action = data.draw(st.sampled_from(["add", "add", "end", "remove", "full"]))
        full = data.draw(st.sampled_from(["m0", "m1"])) if action == "full" else None
        if action == "add":
            one = job(
                data.draw(st.sampled_from("abc")),
                data.draw(st.integers(1, 300)),
                data.draw(st.integers(1, 5)),
                data.draw(st.sampled_from(["m0", "m1"])),
                group=data.draw(st.sampled_from("xy")),
                key=data.draw(st.sampled_from("kl")),
                background=data.draw(st.booleans()),
            )
            policy.add(one, 0)
            waiting.append(one)
        elif action == "end" and running:
            one = running.pop(data.draw(st.integers(0, len(running) - 1)))
            policy.end(one, 0)
            actual = data.draw(st.integers(0, 600))
            policy.settle(one, actual)
            policy.settle(one, actual + 7)  # only the first one counts
            charged[one.group + one.user] += actual
        elif action == "remove" and waiting:
            policy.remove(waiting.pop(data.draw(st.integers(0, len(waiting) - 1))), 0)
        while (found := policy.next(0, lambda model: model != full)) is not None:  # noqa: B023
            waiting.remove(found)
            running.append(found)
        assert policy.waiting == len(waiting)
        assert policy.running == len(running) <= slots
        if not cap and full is None and policy.running < slots:
            assert not policy.first.waiting
    while (left := policy.next(0, anywhere)) or running:
        if left:
            waiting.remove(left)
            running.append(left)
            continue
        done = running.pop()
        policy.end(done, 0)
        policy.settle(done, done.cost)
        charged[done.group + done.user] += done.cost
    assert not waiting
    assert (policy.waiting, policy.running, policy.background) == (0, 0, 0)
    for tree in (policy.first, policy.last):
        assert [*tree] == []
        assert not tree.groups.active
        assert tree.groups.weight == 0
        assert [*tree.groups.resources] == []
    attained: defaultdict[str, int] = defaultdict(int)
    for group, user in itertools.product("xy", "abc"):
        for tree in (policy.first, policy.last):
            if (flow := tree.find(group, user)) is not None:
                attained[group + user] += flow.attained
    assert {k: v for k, v in attained.items() if v} == {k: v for k, v in charged.items() if v}


def test_a_request_of_any_size_runs_without_visiting_its_rounds() -> None:
    policy = FairShare(1, Quantum(1))
    policy.add(job(cost=10**12), 0)
    assert policy.next(0, anywhere) is not None
    assert policy.first.find("", "a").deficit == 0  # type: ignore[union-attr]


def test_who_owes_waits_and_debts_age() -> None:
    policy = FairShare(1)

    def serve(user: str, estimate: int, actual: int) -> None:
        one = job(user, estimate)
        policy.add(one, 0)
        assert policy.next(0, anywhere) is one
        policy.end(one, 0)
        policy.settle(one, actual)

    serve("a", 10, 1000)
    flow = policy.first.find("", "a")
    assert flow is not None
    assert flow.deficit == -990
    for _ in range(50):
        serve("b", 10, 10)
    late = job("a", 10)
    policy.add(late, 0)
    assert flow.deficit == -990 + 50 * 10
    policy.remove(late, 0)
    # an estimate that was too high is given back, but not saved for later
    serve("b", 5000, 10)
    other = policy.first.find("", "b")
    assert other is not None
    policy.add(job("b", 10), 0)
    assert other.deficit == 0


def test_background_jobs_wait_no_longer_than_their_patience() -> None:
    batch = Asker("batch", background=True, depth=8)
    pool = Pool(FairShare(2, patience_s=1000), [Asker("a", depth=8), batch]).run(20_500)
    # one of 100 s in each 1000 s, as long as others wait
    assert 18 <= pool.served["batch"] / 100 <= 21
    alone = Pool(FairShare(2), [batch]).run(10_000)
    assert alone.busy_s == 2 * 10_000


def test_burst_credit_is_earned_while_idle_and_scaled_by_weight() -> None:
    ring: Ring[Flow] = Ring(Quantum(10, burst_rounds=100))
    light, heavy = Flow("light", 1), Flow("heavy", 3)
    ring.idle_s = BURST_S / 2
    for share in (light, heavy):
        ring.join(share)
        ring.offer(share, {"m": 100})
    assert (light.credit, heavy.credit) == (500, 1500)
    # credit is spent before the deficit
    entry = ring.best("m")
    assert entry is not None
    ring.take(light, entry[0], 100)
    assert (light.credit, light.deficit) == (400, 0)
    # and halved in each round in which others wait
    ring.take(heavy, PARTS * (ring.round + 2), 1)
    ring.take(light, PARTS * ring.round, 50)
    assert light.credit == 400 // 4 - 50
    ring.leave(light)
    ring.idle_s += 100 * BURST_S
    ring.join(light)
    assert light.credit == 1000


def test_burst_credit_goes_first_after_an_idle_time() -> None:
    policy = FairShare(1, Quantum(10, burst_rounds=100))
    for user in ("idle", "busy"):
        one = job(user, 10)
        policy.add(one, 0)
        policy.next(0, anywhere)
        policy.end(one, 0)
        policy.settle(one, 10)
    blocker = job("busy", 10)
    policy.add(blocker, BURST_S)
    assert policy.next(BURST_S, anywhere) is blocker
    policy.add(job("late", 400), BURST_S)
    policy.add(job("idle", 900), BURST_S)
    policy.end(blocker, BURST_S)
    first = policy.next(BURST_S, anywhere)
    # who is new has not been idle here
    assert first is not None
    assert first.user == "idle"


def test_idle_users_are_forgotten_beyond_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MAX_IDLE", 100)
    policy = FairShare(1)
    for number in range(1000):
        one = job(f"u{number}", group=f"g{number}")
        policy.add(one, 0)
        policy.next(0, anywhere)
        policy.end(one, 0)
        policy.settle(one, 100)
    assert len(policy.first._flows) <= 101
    assert len(policy.first._groups) <= 101
    assert len(policy.decisions) == 1000


@pytest.mark.parametrize(("idle", "waiting"), [(0, 1000), (10_000, 1000), (0, 10_000)])
def test_a_decision_looks_at_few_of_those_who_wait(
    idle: int, waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decision computes the deficits of one user and one group, of however many."""
    policy, looked = FairShare(1), 0
    for number in range(idle):
        one = job(f"i{number}", group=f"g{number % 10}")
        policy.add(one, 0)
        assert policy.next(0, anywhere) is one
        policy.end(one, 0)
        policy.settle(one, 100)
    for number in range(waiting):
        for _ in range(2):
            policy.add(job(f"u{number}", 10 + number, group=f"g{number % 10}"), 0)
    level = Ring.level

    def counted(ring: Ring[Flow], share: Flow) -> int:
        nonlocal looked
        looked += 1
        return level(ring, share)

    monkeypatch.setattr(Ring, "level", counted)
    for _ in range(500):
        one = policy.next(0, anywhere)  # type: ignore[assignment]
        policy.end(one, 0)
        policy.settle(one, one.cost + 1)
    # the user and the group, for the charge, its correction and what they have to send next
    assert looked / 500 <= 10


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), COSTS, COSTS), max_size=30
    )
)
def test_the_short_way_charges_as_the_long_one(steps: list[tuple[str, str, int, int]]) -> None:
    short, long = FairShare(1), FairShare(1)
    for user, group, cost, actual in steps:
        one, other = job(user, cost, 2, group=group), job(user, cost, 2, group=group)
        assert short.pass_by(one, 0)
        long.add(other, 0)
        assert long.next(0, anywhere) is other
        for policy, ran in ((short, one), (long, other)):
            policy.end(ran, 0)
            policy.settle(ran, actual)
        assert one.decision == other.decision
        for policy in (short, long):
            assert (policy.running, policy.waiting) == (0, 0)
        pairs = [(p.first.find(group, user), p.first.groups.round) for p in (short, long)]
        states = [(f and f.deficit, f and f.round, f and f.attained, at) for f, at in pairs]
        assert states[0] == states[1]


@pytest.mark.parametrize("weight", [0, -3])
def test_a_weight_that_cannot_be_counts_as_one(weight: int) -> None:
    """A row that was changed by hand does not stop the scheduler for everybody."""
    policy = FairShare(1)
    for number in range(4):
        policy.add(job("bad", weight=weight, group="g", group_weight=weight), 0)
        policy.add(job("good", weight=1, group="g", group_weight=1 - number), 0)
    ran = []
    while (one := policy.next(0, anywhere)) is not None:
        policy.end(one, 0)
        policy.settle(one, one.cost)
        ran.append(one.user)
    assert sorted(ran[:4]) == ["bad", "bad", "good", "good"]
    assert len(ran) == 8
