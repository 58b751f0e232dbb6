"""Two levels of rings: groups by weight, and in each group its users by weight. Pure.

One user's requests are served in order of arrival, except that a request never waits behind one
whose model or key has no room. Idle users cost nothing: only active members are in a ring.
"""

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

from frontend.scheduling.jobs import Caps, Decision, Flow, Group, Job
from frontend.scheduling.ring import Entry, Quantum, Ring, S

MAX_IDLE = 10_000
"""Users that are remembered with what they owe; beyond it, the first who left is forgotten."""


class Tree:
    """All flows of one band."""

    def __init__(self, quantum: Quantum, caps: Caps | None = None) -> None:
        self.quantum, self.caps = quantum, caps or Caps()
        self.groups: Ring[Group] = Ring(quantum)
        self.waiting = 0
        self.idle_s = 0.0
        """Seconds in which the pool had nothing to do, added up."""
        self._groups: dict[str, Group] = {}
        self._flows: dict[tuple[str, str], Flow] = {}
        self._idle: OrderedDict[tuple[str, str], Flow] = OrderedDict()
        self._numbers = itertools.count(1)

    def __iter__(self) -> Iterator[Flow]:
        """The active flows."""
        for group in self.groups.active.values():
            yield from group.ring.active.values()

    def find(self, group: str, user: str) -> Flow | None:
        """The flow of a user, if it is known."""
        return self._flows.get((group, user))

    def add(self, job: Job) -> Flow:
        """A job waits from now on."""
        flow = self._flow(job)
        group = flow.parent
        assert group is not None
        job.flow, job.number = flow, next(self._numbers)
        job.ahead, job.begun_before = flow.waiting, flow.begun
        lane = flow.lanes.get((job.resource, job.key))
        if lane is None:
            lane = flow.lanes[job.resource, job.key] = OrderedDict()
        lane[job.number] = job
        flow.waiting += 1
        self.waiting += 1
        if not flow.active:
            self.groups.idle_s = group.ring.idle_s = self.idle_s
            group.ring.join(flow)
            if not group.active:
                self.groups.join(group)
        # behind another job of its lane it changes nothing
        if len(lane) == 1:
            self._refresh(flow, charged=False)
        return flow

    def remove(self, job: Job) -> None:
        """A waiting job is given up; it was not charged."""
        flow = job.flow
        assert flow is not None
        self._drop(flow, job)
        self._refresh(flow, charged=False)

    def next(self, has_capacity: Callable[[str], bool]) -> Job | None:
        """The next job, among those whose resource has capacity: it is charged, and runs."""
        free = [name for name in [*self.groups.resources] if has_capacity(name)]
        outer = _first(self.groups, free)
        if outer is None:
            return None
        group = outer[4]
        # among all resources: waiting for a model of its own does not make a flow the next
        inner = _first(group.ring, free)
        assert inner is not None
        flow = inner[4]
        heads = (job for job in self._heads(flow) if flow.entries.get(job.resource) is inner)
        return self._take(outer[0], inner[0], min(heads, key=_number))

    def pass_by(self, job: Job) -> None:
        """A job runs while nothing waits: the same charge as by `add` and `next`, in short."""
        flow = self._flow(job)
        group = flow.parent
        assert group is not None
        job.flow, job.number = flow, next(self._numbers)
        job.alone = job.group_alone = True
        flow.running += 1
        flow.begun += 1
        flow.keys[job.key] = flow.keys.get(job.key, 0) + 1
        outer, inner = self.groups.pass_by(group, job.cost), group.ring.pass_by(flow, job.cost)
        job.decision = Decision(
            flow.weight,
            group.weight,
            inner,
            inner - job.cost,
            outer,
            outer - job.cost,
            group.ring.round,
            self.groups.round,
        )
        self._forget(flow)

    def _take(self, outer: int, inner: int, job: Job) -> Job:
        """Charges a job in these rounds of the groups and of the group's users."""
        flow = job.flow
        assert flow is not None
        group = flow.parent
        assert group is not None
        job.alone, job.group_alone = len(group.ring.active) == 1, len(self.groups.active) == 1
        before = self.groups.take(group, outer, job.cost)
        job.decision = Decision(
            flow.weight,
            group.weight,
            group.ring.take(flow, inner, job.cost),
            flow.deficit,
            before,
            group.deficit,
            group.ring.round,
            self.groups.round,
        )
        flow.running += 1
        flow.begun += 1
        flow.keys[job.key] = flow.keys.get(job.key, 0) + 1
        self._drop(flow, job)
        self._refresh(flow, rotate=True)
        return job

    def end(self, job: Job) -> None:
        """A running job has ended; what it cost is corrected by `settle`."""
        flow = job.flow
        assert flow is not None
        flow.running -= 1
        if flow.keys[job.key] > 1:
            flow.keys[job.key] -= 1
        else:
            del flow.keys[job.key]
        if flow.active and (self.caps.user or self.caps.key):
            self._refresh(flow)

    def settle(self, job: Job, actual: int) -> None:
        """Once for each job that was taken, whichever way it ended."""
        self.correct(job, job.cost - actual)

    def correct(self, job: Job, tokens: int) -> None:
        """Gives tokens back to the user and the group of a job, or charges negative ones."""
        flow = job.flow
        assert flow is not None
        assert flow.parent is not None
        if tokens:
            flow.parent.ring.correct(flow, tokens, alone=job.alone)
            self.groups.correct(flow.parent, tokens, alone=job.group_alone)
            if flow.active:
                self._refresh(flow)

    def position(self, job: Job) -> int:
        """About how many jobs run until this one has run, by the shares of those who wait now."""
        flow = job.flow
        assert flow is not None
        group = flow.parent
        assert group is not None
        # those before it may have been given up; then there are fewer
        ahead = min(max(job.ahead - (flow.begun - job.begun_before), 0), flow.waiting - 1)
        part = flow.weight * group.weight
        whole = group.ring.weight * self.groups.weight
        return min(-(-(ahead + 1) * whole // part), self.waiting)

    def owe(self, groups: dict[str, int], users: dict[tuple[str, str], int], most: int) -> None:
        """Charges groups and users for what they were served elsewhere.

        No debt grows beyond `most` tokens per weight through this.
        """
        for name, tokens in groups.items():
            if (group := self._groups.get(name)) is not None:
                self.groups.owe(group, tokens, most)
        for pair, tokens in users.items():
            flow = self._flows.get(pair)
            if flow is not None and flow.parent is not None:
                flow.parent.ring.owe(flow, tokens, most)
        for flow in [*self]:
            self._refresh(flow)

    def _flow(self, job: Job) -> Flow:
        known = self._flows.get((job.group, job.user))
        if known is None:
            group = self._groups.get(job.group)
            if group is None:
                group = Group(job.group, max(job.group_weight, 1), ring=Ring(self.quantum))
                # who is new has neither debts nor burst credit
                group.round, group.idle_s = self.groups.round, self.idle_s
                self._groups[job.group] = group
            known = Flow(job.user, max(job.weight, 1), parent=group)
            known.round, known.idle_s = group.ring.round, self.idle_s
            self._flows[job.group, job.user] = known
            group.flows += 1
            return known
        self._idle.pop((job.group, job.user), None)
        assert known.parent is not None
        known.parent.ring.reweigh(known, job.weight)
        self.groups.reweigh(known.parent, job.group_weight)
        return known

    def _heads(self, flow: Flow) -> Iterator[Job]:
        """The first job of each lane that is not held up by a cap."""
        if self.caps.user and flow.running >= self.caps.user:
            return
        for (_, key), lane in flow.lanes.items():
            if not (self.caps.key and flow.keys.get(key, 0) >= self.caps.key):
                yield next(iter(lane.values()))

    def _drop(self, flow: Flow, job: Job) -> None:
        lane = flow.lanes[job.resource, job.key]
        del lane[job.number]
        if not lane:
            del flow.lanes[job.resource, job.key]
        flow.waiting -= 1
        self.waiting -= 1

    def _refresh(self, flow: Flow, *, rotate: bool = False, charged: bool = True) -> None:
        """Brings both rings up to date with what a flow has to send.

        `charged`: deficits have changed, too.
        """
        group = flow.parent
        assert group is not None
        if flow.active and not flow.waiting:
            group.ring.leave(flow)
            self._forget(flow)
        elif flow.active:
            heads: dict[str, Job] = {}
            for job in self._heads(flow):
                if job.resource not in heads or job.number < heads[job.resource].number:
                    heads[job.resource] = job
            costs = {}
            for resource, job in heads.items():
                if job.estimate is not None:
                    # answers that have ended since it came make it better
                    job.cost = job.estimate()
                costs[resource] = job.cost
            group.ring.offer(flow, costs, rotate=rotate)
        if not group.active:
            return
        if not group.ring.active:
            self.groups.leave(group)
            return
        costs = {}
        for name in [*group.ring.resources]:
            if (entry := group.ring.best(name)) is not None:
                costs[name] = entry[3]
        # an unchanged offer would only be computed again
        if charged or costs != {name: one[3] for name, one in group.entries.items()}:
            self.groups.offer(group, costs, rotate=rotate)

    def _forget(self, flow: Flow) -> None:
        """Remembers who left, and forgets who left first where there are too many."""
        assert flow.parent is not None
        self._idle[flow.parent.name, flow.name] = flow
        if len(self._idle) <= MAX_IDLE:
            return
        key, oldest = next(iter(self._idle.items()))
        self._idle.move_to_end(key)
        if oldest.running:  # its end is still to be settled
            return
        del self._idle[key], self._flows[key]
        group = oldest.parent
        assert group is not None
        group.flows -= 1
        if not group.flows:
            del self._groups[group.name]


def _first(ring: Ring[S], resources: Iterable[str]) -> Entry | None:
    """The first entry of all these resources."""
    first = None
    for name in resources:
        entry = ring.best(name)
        # two entries differ in their third field at the latest, so shares are never compared
        if entry is not None and (first is None or entry < first):
            first = entry
    return first


def _number(job: Job) -> int:
    return job.number
