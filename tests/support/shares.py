"""A pool on a virtual clock: users who always have requests, and what each of them was served."""

import heapq
import itertools
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from frontend.scheduling.jobs import Job
from frontend.scheduling.policy import FairShare


@dataclass
class Asker:
    """A user with `depth` requests at any time, from `begins_s` to `ends_s`, who then gives up
    those that wait.

    `size` draws (estimate, actual cost) of the next one; `model` and `key` its model and key.
    """

    name: str
    weight: int = 1
    group: str = ""
    group_weight: int = 1
    size: Callable[[random.Random], tuple[int, int]] = lambda _: (100, 100)
    model: Callable[[random.Random], str] = lambda _: "m"
    key: Callable[[random.Random], str] = lambda _: ""
    depth: int = 4
    begins_s: float = 0.0
    ends_s: float = float("inf")
    background: bool = False


@dataclass
class Pool:
    """Runs askers on a policy; a slot serves one token per second."""

    policy: FairShare
    askers: list[Asker]
    seed: int = 1
    has_capacity: Callable[[str], bool] = lambda _: True
    now_s: float = 0.0
    served: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    first_s: dict[str, float] = field(default_factory=dict)
    ended: list[tuple[str, int]] = field(default_factory=list)
    busy_s: float = 0.0
    running: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._numbers = itertools.count()
        self._ends: list[tuple[float, int, Job, int]] = []
        self._begun: set[str] = set()
        self._leaving: defaultdict[float, list[Job]] = defaultdict(list)

    def run(self, until_s: float) -> "Pool":
        """Goes on to an instant."""
        changes = {one.begins_s for one in self.askers} | {one.ends_s for one in self.askers}
        begins = sorted(one for one in changes if self.now_s < one < float("inf"))
        while True:
            self._leave()
            self._begin()
            self._dispatch()
            times = [end[0] for end in self._ends[:1]] + [t for t in begins if t > self.now_s][:1]
            if not times or min(times) > until_s:
                return self
            self.now_s = min(times)
            while self._ends and self._ends[0][0] <= self.now_s:
                self._end(*heapq.heappop(self._ends)[2:])

    def jump(self, seconds: float) -> None:
        """Sets the clock; what runs takes as long as before."""
        self.now_s += seconds
        self._ends = [(end_s + seconds, n, job, cost) for end_s, n, job, cost in self._ends]

    def share(self, name: str) -> float:
        """A user's part of all that was served, in per cent."""
        return 100 * self.served[name] / sum(self.served.values())

    def jain(self) -> float:
        """Jain's index of what each was served per weight: 1 is perfectly fair."""
        each = [self.served[one.name] / one.weight for one in self.askers]
        return sum(each) ** 2 / (len(each) * sum(x * x for x in each))

    def _begin(self) -> None:
        for one in self.askers:
            if one.name not in self._begun and one.begins_s <= self.now_s:
                self._begun.add(one.name)
                for _ in range(one.depth):
                    self._ask(one)

    def _leave(self) -> None:
        for ends_s in [one for one in self._leaving if one <= self.now_s]:
            for job in self._leaving.pop(ends_s):
                if job.decision is None:
                    self.policy.remove(job, self.now_s)

    def _ask(self, one: Asker) -> None:
        if self.now_s >= one.ends_s:
            return
        estimate, actual = one.size(self._random)
        job = Job(
            f"{one.name} {actual}", one.name, one.model(self._random), estimate, one.weight,
            one.group, one.group_weight, one.key(self._random), one.background,
        )  # fmt: skip
        self.policy.add(job, self.now_s)
        if one.ends_s < float("inf"):
            self._leaving[one.ends_s].append(job)

    def _dispatch(self) -> None:
        while (job := self.policy.next(self.now_s, self.has_capacity)) is not None:
            self.first_s.setdefault(job.user, self.now_s)
            self.running[job.resource] += 1
            actual = int(job.id.split()[1])
            end_s = self.now_s + max(actual, 1)
            heapq.heappush(self._ends, (end_s, next(self._numbers), job, actual))

    def _end(self, job: Job, actual: int) -> None:
        self.running[job.resource] -= 1
        self.busy_s += actual
        self.served[job.user] += actual
        self.ended.append((job.user, actual))
        self.policy.end(job, self.now_s)
        self.policy.settle(job, actual)
        self._ask(next(one for one in self.askers if one.name == job.user))
