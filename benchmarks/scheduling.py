"""What one decision of the scheduler costs, in CPU time.

Each cycle ends a request, corrects its cost, decides who is next and lets another request wait.
Costs are between 10 and 3,000 tokens, weights between 1 and 10, users in 20 groups.
"""

import random
import time
from dataclasses import dataclass

from frontend.scheduling.jobs import Job
from frontend.scheduling.policy import FairShare

_GROUPS = 20


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of a decision and of a whole cycle; `limit_us` is for the decision."""

    waiting: int
    idle: int
    decision_us: float
    cycle_us: float
    limit_us: float = 20.0


def measure(cycles: int = 5000) -> list[Cost]:
    """The best of three for each number of users who wait, and who are known and idle."""
    cases = ((10, 0), (1000, 0), (1000, 10_000))
    return [min((_measure(*case, cycles) for _ in range(3)), key=_decision) for case in cases]


def _decision(cost: Cost) -> float:
    return cost.decision_us


def _measure(waiting: int, idle: int, cycles: int) -> Cost:
    policy, draw = FairShare(1), random.Random(1)
    for number in range(idle):
        once = _job(f"idle-{number}", number, draw)
        policy.add(once, 0.0)
        next_job(policy)
        policy.end(once, 0.0)
        policy.settle(once, once.cost)
    fill(policy, waiting, draw)
    current, decisions_s = next_job(policy), 0.0
    begun_s = time.thread_time()
    for _ in range(cycles):
        policy.end(current, 0.0)
        policy.settle(current, current.cost + 1)
        before_s = time.thread_time()
        ended, current = current, next_job(policy)
        decisions_s += time.thread_time() - before_s
        policy.add(_job(ended.user, int(ended.user.partition("-")[2]), draw), 0.0)
    whole_s = time.thread_time() - begun_s
    return Cost(waiting, idle, 1e6 * decisions_s / cycles, 1e6 * whole_s / cycles)


def fill(policy: FairShare, users: int, draw: random.Random) -> None:
    """Lets four jobs of each user wait."""
    for number in range(users):
        for _ in range(4):
            policy.add(_job(f"user-{number}", number, draw), 0.0)


def next_job(policy: FairShare) -> Job:
    """The job that the policy decides for; at least one waits."""
    job = policy.next(0.0, lambda _: True)
    assert job is not None
    return job


def _job(user: str, number: int, draw: random.Random) -> Job:
    cost, weight = draw.randrange(10, 3000), 1 + number % 10
    return Job("request", user, "model", cost, weight, f"group-{number % _GROUPS}")
