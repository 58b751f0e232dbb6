"""The current state of the gateway for administrators, without texts of requests.

Every list in it is bounded, so that one snapshot takes a few milliseconds however much waits. It
does not know who looks: `share` is for those who may see the queue of every user.
"""

import re
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

from frontend.generation.path import Path
from frontend.scheduling.report import show_queue
from frontend.telemetry.alerts import Alerts, Gauges
from frontend.telemetry.history import History, gpu_values
from frontend.telemetry.metrics import Metrics
from frontend.upstreams.member import Member

Shown = dict[str, Any]
_MAX_FLOWS = 50
_MAX_SHOWN = 200
_RATE_S = 30.0
"""Tokens are counted when a request ends, so a rate over less time jumps."""
_GPU_NAMES = {
    "nv_gpu_utilization": "utilization",
    "nv_gpu_memory_used_bytes": "memory_used_bytes",
    "nv_gpu_memory_total_bytes": "memory_total_bytes",
    "nv_gpu_power_usage": "power_w",
}
_TIMES = re.compile("(first_token|queue_wait)_p")


@dataclass(slots=True)
class Overview:
    """Snapshots of one gateway process."""

    path: Path
    metrics: Metrics
    history: History
    alerts: Alerts
    _totals: deque[tuple[float, dict[str, float]]] = field(default_factory=deque)

    def show(self) -> Shown:
        """Everything but the queue's users."""
        path, queue = self.path, self.path.queue
        return {
            "object": "overview",
            "at": round(time.time(), 1),
            "draining": path.draining,
            "slots": queue.policy.slots,
            "running": queue.running,
            "running_background": queue.policy.background,
            "waiting": queue.policy.first.waiting,
            "waiting_background": queue.policy.last.waiting,
            "tokens_per_s": self._rates(time.monotonic()),
            "models": self._models(),
            "gpus": self._gpus(),
            "upstreams": [_show_upstream(one) for one in path.fleet.members[:_MAX_SHOWN]],
            "alerts": self.alerts.check(),
        }

    def show_share(self) -> Shown:
        """The queue: who waits, at which position, with which deficit."""
        return show_queue(self.path.queue, _MAX_FLOWS)

    def _rates(self, now_s: float) -> dict[str, float | None]:
        """Tokens per second of the last half minute; None until there are two readings."""
        totals, seen = self.metrics.runs.tokens, self._totals
        seen.append((now_s, totals))
        while len(seen) > 2 and seen[1][0] <= now_s - _RATE_S:
            seen.popleft()
        before_s, before = seen[0]
        passed_s = now_s - before_s
        return {
            kind: round((totals[kind] - before[kind]) / passed_s, 1) if passed_s > 0 else None
            for kind in ("prompt", "completion")
        }

    def _models(self) -> list[Shown]:
        points = self.history.points
        last = points[-1]["models"] if points else {}
        rows = []
        for name, now in list(self.path.activity.items())[:_MAX_SHOWN]:
            measured = last.get(name, {})
            times = {key: value for key, value in measured.items() if _TIMES.match(key)}
            waiting = int(measured.get("waiting", 0))
            rows.append({"name": name, "state": "ready", **now, "waiting": waiting, **times})
        ready = {row["name"] for row in rows}
        absent = [name for name in sorted(self.path.fleet.absent) if name not in ready]
        return rows + [{"name": name, "state": "not loaded"} for name in absent[:_MAX_SHOWN]]

    def _gpus(self) -> list[Shown]:
        pages = [one.page for one in self.metrics.scraper.sources.values() if one.page is not None]
        gpus: defaultdict[tuple[str, str], Shown] = defaultdict(dict)
        for (name, pairs), value in gpu_values(pages).items():
            labels = dict(pairs)
            key = labels.get("upstream", ""), labels.get("gpu_uuid", "")
            gpus[key][_GPU_NAMES[name]] = value
        return [
            {"upstream": upstream, "gpu": gpu, **values}
            for (upstream, gpu), values in sorted(gpus.items())[:_MAX_SHOWN]
        ]


def gauges_of(path: Path, metrics: Metrics) -> Gauges:
    """What alerts are made of. An upstream that is switched off on purpose does not raise one."""
    members = [one for one in path.fleet.members if one.enabled]
    return Gauges(
        {one.name: float(one.registry.is_reachable) for one in members},
        {one.name: len(one.broken) for one in members},
        metrics.scraper.stale,
        0 if path.ledger is None else path.ledger.backlog,
        _number(metrics, "audit_backlog"),
        _number(metrics, "disk_free_bytes"),
        _number(metrics, "disk_size_bytes"),
        path.shares.withdrawn,
    )


def _number(metrics: Metrics, name: str) -> float:
    value = metrics.watched(name)
    assert isinstance(value, int | float)
    return value


def _show_upstream(one: Member) -> Shown:
    if not one.enabled:
        state = "disabled"
    elif one.draining:
        state = "draining"
    else:
        state = "ready" if one.registry.is_reachable else "unreachable"
    return {
        "name": one.name,
        "engine": one.placing.engine,
        "state": state,
        "running": one.running,
        "models": len(one.registry.models),
        "breakers": {model: broken.value for model, broken in one.broken.items()},
        "error": one.problem,
    }
