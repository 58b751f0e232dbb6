"""Weighted deficit round robin among the members of one ring. Pure; its time is counted in rounds.

In each round a member gains `quantum × weight` tokens, and it sends while its deficit covers the
cost of its next request. No round is visited one by one: a heap holds for each member the round
in which it can send, so a decision takes O(log members) however many rounds it skips. All numbers
are integers, so nothing drifts. Source: Shreedhar and Varghese, "Efficient fair queuing using
deficit round robin" (1996); the cost in tokens is that of VTC (arXiv 2401.00588).

A resource is what a request needs besides a slot: a model. Members that wait for one without
capacity must not cost time, so each resource has a heap of its own.
"""

import heapq
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar


@dataclass(frozen=True, slots=True)
class Quantum:
    """`tokens` are gained per round and weight. At most `most_rounds` rounds of it are kept.

    A small quantum costs nothing, since rounds are skipped, and is fairer: who has one request at
    a time loses what is left of a quantum with each of them. `burst_rounds`: what an idle pool
    gives away at most, all of it in `BURST_S`.
    """

    tokens: int = 10
    most_rounds: int = 8
    burst_rounds: int = 0


BURST_S = 60.0
PARTS = 2**20
"""Of a round. Members whose turn comes in the same round go in the exact order: the published bound
would not hold if each sent a whole quantum before the next one."""
Entry = tuple[int, int, int, int, Any]
"""When it can send (in parts of a round), its place in the ring, a unique number, the cost, the
share."""


@dataclass(slots=True, eq=False)
class Share:
    """A member of a ring: a group, or a user of it. `deficit` is as of `round`."""

    name: str
    weight: int
    deficit: int = 0
    round: int = 0
    place: int = 0
    active: bool = False
    credit: int = 0
    """Burst credit, as of `contended` and `idle_s` of the ring."""
    contended: int = 0
    idle_s: float = 0.0
    attained: int = 0
    """Tokens that it was charged, ever."""
    entries: dict[str, Entry] = field(default_factory=dict)


S = TypeVar("S", bound=Share)


class Ring(Generic[S]):
    """The members that compete with each other."""

    def __init__(self, quantum: Quantum) -> None:
        self.quantum = quantum
        self.round = 0
        self.contended = 0
        """Rounds in which more than one member waited."""
        self.idle_s = 0.0
        self.active: dict[str, S] = {}
        self.weight = 0
        """Of all active members."""
        self._heaps: dict[str, list[Entry]] = {}
        self._numbers = itertools.count()

    @property
    def resources(self) -> Iterable[str]:
        """Those that a member may wait for."""
        return self._heaps

    def join(self, share: S) -> None:
        """A member has something to send again. Debts age while it is away; credit is not kept."""
        self._age(share)
        if self.quantum.burst_rounds:
            self._earn(share)
        share.place = next(self._numbers)
        share.active = True
        self.active[share.name] = share
        self.weight += share.weight

    def leave(self, share: S) -> None:
        """A member has nothing to send any more."""
        share.deficit, share.round = min(0, self.level(share)), self.round
        share.active = False
        share.entries.clear()
        del self.active[share.name]
        self.weight -= share.weight
        if not self.active:
            self._heaps.clear()  # all that is left in them is outdated

    def reweigh(self, share: S, weight: int) -> None:
        """The member's weight from this round on, at least 1."""
        weight = max(weight, 1)
        if weight == share.weight:
            return
        if share.active:
            share.deficit, share.round = self.level(share), self.round
            self.weight += weight - share.weight
        share.weight = weight

    def level(self, share: S) -> int:
        """The deficit of an active member in this round."""
        if share.round == self.round:
            return share.deficit
        gain = self.quantum.tokens * share.weight
        grown = share.deficit + gain * (self.round - share.round)
        most = gain * self.quantum.most_rounds
        if grown > most:
            # a cost that is larger must be reached, and what is left of that round is kept
            most = max(most, _cost(share) + gain)
        # a refund may exceed the bound: these tokens were paid
        return max(share.deficit, min(grown, most))

    def offer(self, share: S, costs: dict[str, int], *, rotate: bool = False) -> None:
        """What an active member has to send now: a cost for each resource.

        `rotate`: it has just sent something, and goes to the end if it must wait for a round.
        """
        deficit = self.level(share)
        share.deficit, share.round = deficit, self.round
        share.entries.clear()
        if not costs:
            return
        ready = deficit + self._credit(share) if share.credit else deficit
        if rotate and min(costs.values()) > ready:
            share.place = next(self._numbers)
        gain = self.quantum.tokens * share.weight
        for resource, cost in costs.items():
            # before this round for who has credit: of two of them, who has more goes first
            covered = ready if cost <= ready else deficit
            at = PARTS * self.round - PARTS * (covered - cost) // gain
            entry = (at, share.place, next(self._numbers), cost, share)
            share.entries[resource] = entry
            heap = self._heaps.setdefault(resource, [])
            heapq.heappush(heap, entry)
            if len(heap) > 4 * len(self.active) + 64:
                self._compact(resource, heap)

    def best(self, resource: str) -> Entry | None:
        """The entry of the member that sends next to a resource; None: there is none."""
        heap = self._heaps.get(resource)
        while heap:
            entry = heap[0]
            share: Share = entry[4]
            if share.entries.get(resource) is entry:
                return entry
            heapq.heappop(heap)
        self._heaps.pop(resource, None)
        return None

    def take(self, share: S, at: int, cost: int) -> int:
        """Charges a member whose turn came at `at` of its entry; that round is now the present one.
        Returns its deficit before."""
        begun = -(-at // PARTS)
        if begun > self.round:
            if len(self.active) > 1:
                self.contended += begun - self.round
            self.round = begun
        deficit = self.level(share)
        spent = 0
        if share.credit:
            credit = self._credit(share)
            spent = min(credit, cost)
            share.credit, share.contended = credit - spent, self.contended
        share.deficit, share.round = deficit - cost + spent, self.round
        share.attained += cost
        return deficit

    def pass_by(self, share: S, cost: int) -> int:
        """Charges a member of an empty ring, which goes without having waited: as `join`, `take`
        and `leave` do. Returns its deficit before."""
        self._age(share)
        gain = self.quantum.tokens * share.weight
        rounds = -((share.deficit - cost) // gain)
        before = share.deficit + rounds * gain
        self.round += rounds
        share.deficit, share.round = 0, self.round
        share.attained += cost
        return before

    def correct(self, share: S, tokens: int, *, alone: bool = False) -> None:
        """Gives back what was estimated too high, or charges what was too low (negative).

        `alone`: nobody competed when it was charged. Then only the estimate made rounds go by,
        and to give it back would be a credit from an idle time: it only repays debts.
        """
        if not share.active:
            # first: a debt ages from when it is known, or an estimate that is too low would pay
            self._age(share)
        before = self.level(share) if share.active else share.deficit
        after = before + tokens
        share.deficit = min(after, max(before, 0)) if alone else after
        share.round = self.round
        share.attained -= tokens

    def owe(self, share: S, tokens: int, most: int) -> None:
        """Charges a member for what it was served elsewhere; a debt of more than `most` per weight
        does not grow."""
        if not share.active:
            self._age(share)
        deficit = self.level(share)
        floor = min(deficit, -most * share.weight)
        share.deficit, share.round = max(deficit - tokens, floor), self.round

    def _age(self, share: S) -> None:
        grown = self.quantum.tokens * share.weight * (self.round - share.round)
        share.deficit, share.round = min(0, share.deficit + grown), self.round

    def _earn(self, share: S) -> None:
        """Credit for the time in which the pool was idle."""
        most = self.quantum.burst_rounds * self.quantum.tokens * share.weight
        earned = int(most * min((self.idle_s - share.idle_s) / BURST_S, 1))
        share.credit = min(most, self._credit(share) + earned)
        share.contended, share.idle_s = self.contended, self.idle_s

    def _credit(self, share: S) -> int:
        # halved in each contended round; more than 63 of them leave nothing of any number of tokens
        return share.credit and share.credit >> min(self.contended - share.contended, 63)

    def _compact(self, resource: str, heap: list[Entry]) -> None:
        heap[:] = [entry for entry in heap if entry[4].entries.get(resource) is entry]
        heapq.heapify(heap)


def _cost(share: Share) -> int:
    """The largest cost that a member has to send."""
    cost = 0
    for entry in share.entries.values():
        cost = max(cost, entry[3])
    return cost
