"""The queue and its decisions as plain data, for admins. No prompt is in either."""

import heapq
from collections import defaultdict
from typing import Any

from frontend.scheduling.jobs import Flow, Job
from frontend.scheduling.queue import Queue
from frontend.scheduling.tree import Tree

Shown = dict[str, Any]
MAX_FLOWS = 1000


def show_queue(queue: Queue, most: int = MAX_FLOWS) -> Shown:
    """Who waits: flows with positions, deficits, weights and waits; those who wait most first."""
    policy, now_s = queue.policy, queue.clock()
    served = _served(queue)
    flows = [_show_flow(queue, tree, flow, served, now_s) for tree, flow in _longest(queue, most)]
    quantum, caps = policy.quantum, policy.caps
    return {
        "object": "queue",
        "policy": "weighted deficit round robin",
        "slots": policy.slots,
        "running": policy.running,
        "running_background": policy.background,
        "waiting": policy.first.waiting,
        "waiting_background": policy.last.waiting,
        "waiting_bytes": queue.waiting_bytes,
        "expected_wait_s": round(queue.expected_wait_s, 1),
        "draining": queue.draining,
        "quantum": quantum.tokens,
        "rounds_kept": quantum.most_rounds,
        "burst_rounds": quantum.burst_rounds,
        "max_running_per_user": caps.user,
        "max_running_per_key": caps.key,
        "round": policy.first.groups.round,
        "jain": _jain([flow["recent_per_weight"] for flow in flows if not flow["background"]]),
        "groups": [
            {
                "group_id": group.name,
                "weight": group.weight,
                "deficit": policy.first.groups.level(group),
                "round": group.ring.round,
                "attained": group.attained,
            }
            for group in heapq.nlargest(
                most, policy.first.groups.active.values(), key=lambda one: one.attained
            )
        ],
        "flows": flows,
    }


def jain_of(queue: Queue) -> float:
    """Jain's index of the users who wait, 1 where fewer than two do."""
    first, served = queue.policy.first, _served(queue)
    parts = [
        served[group.name, flow.name] / (flow.weight / group.ring.weight * group.weight)
        for group in first.groups.active.values()
        for flow in group.ring.active.values()
    ]
    found = _jain(parts)
    return 1.0 if found is None else found


def attained_of(queue: Queue, most: int = 100) -> dict[str, float]:
    """What groups were served, in cost, by id; those with the most of those that wait or run."""
    groups = queue.policy.first.groups.active.values()
    largest = heapq.nlargest(most, groups, key=lambda one: one.attained)
    return {group.name: float(group.attained) for group in largest}


def longest_wait_s(queue: Queue) -> float:
    """How long the first of those who wait has waited."""
    now_s = queue.clock()
    heads = (
        next(iter(lane.values())).at_s
        for flow in queue.policy.first
        for lane in flow.lanes.values()
    )
    return max((now_s - at_s for at_s in heads), default=0.0)


def show_decisions(queue: Queue, limit: int, user: str | None, model: str | None) -> list[Shown]:
    """The last decisions, newest first, with every term."""
    now_s, shown = queue.clock(), list[Shown]()
    for job in reversed(queue.policy.decisions):
        if user in (None, job.user) and model in (None, job.resource):
            shown.append(_show_decision(job, now_s))
            if len(shown) == limit:
                break
    return shown


def _longest(queue: Queue, most: int) -> list[tuple[Tree, Flow]]:
    trees = (queue.policy.first, queue.policy.last)
    pairs = ((tree, flow) for tree in trees for flow in tree)
    return heapq.nlargest(most, pairs, key=lambda pair: pair[1].waiting)


def _show_flow(
    queue: Queue, tree: Tree, flow: Flow, served: dict[tuple[str, str], float], now_s: float
) -> Shown:
    group = flow.parent
    assert group is not None
    heads = [next(iter(lane.values())) for lane in flow.lanes.values()]
    first = min(heads, key=lambda job: job.number)
    place = queue.place(first)
    part = flow.weight / group.ring.weight * group.weight / tree.groups.weight
    return {
        "group_id": group.name,
        "user_id": flow.name,
        "background": first.background,
        "weight": flow.weight,
        "group_weight": group.weight,
        "share": round(part, 4),
        "deficit": group.ring.level(flow),
        "waiting": flow.waiting,
        "running": flow.running,
        "models": sorted({model for model, _ in flow.lanes}),
        "position": place.position if place else None,
        "expected_wait_s": round(place.wait_s, 1) if place else None,
        "longest_wait_s": round(now_s - min(job.at_s for job in heads), 3),
        "attained": flow.attained,
        "recent_per_weight": round(served[group.name, flow.name] / part, 1),
    }


def _show_decision(job: Job, now_s: float) -> Shown:
    made = job.decision
    assert made is not None
    return {
        "id": job.id.rpartition("/")[2],
        "seconds_ago": round(now_s - made.at_s, 3),
        "group_id": job.group,
        "user_id": job.user,
        "key_id": job.key,
        "model": job.resource,
        "upstream": made.upstream,
        "background": job.background,
        "weight": made.weight,
        "group_weight": made.group_weight,
        "round": made.round,
        "group_round": made.group_round,
        "deficit_before": made.deficit_before,
        "deficit_after": made.deficit_after,
        "group_deficit_before": made.group_deficit_before,
        "group_deficit_after": made.group_deficit_after,
        "estimate": job.cost,
        "actual": made.actual,
        "waited_s": round(made.waited_s, 6),
        "waiting": made.waiting,
        "running": made.running,
    }


def _served(queue: Queue) -> dict[tuple[str, str], float]:
    """The cost of the last decisions by group and user."""
    costs: defaultdict[tuple[str, str], float] = defaultdict(float)
    for job in queue.policy.decisions:
        made = job.decision
        assert made is not None
        costs[job.group, job.user] += job.cost if made.actual is None else made.actual
    return costs


def _jain(served: list[float]) -> float | None:
    """Jain's index of what those who wait were served per share; 1: perfectly fair."""
    squares = sum(one * one for one in served)
    if len(served) < 2 or not squares:
        return None
    return round(sum(served) ** 2 / (len(served) * squares), 4)
