"""The last hour of the gateway's metrics, for a dashboard that has no Prometheus. In memory.

A point has what happened since the one before it. Memory is bounded by the number of points and of
models in each.
"""

import asyncio
import re
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Metric

from frontend.telemetry.exposition import Page

POINTS = 240
"""An hour at the default of 15 s."""
_MAX_MODELS = 50
_TIMES = {
    "gateway_time_to_first_token_seconds": "first_token",
    "gateway_queue_wait_seconds": "queue_wait",
    "gateway_inter_token_latency_seconds": "inter_token",
}
_PLAIN = {
    "gateway_connections": "connections",
    "gateway_reservations_open": "reservations_open",
    "process_resident_memory_bytes": "resident_memory_bytes",
    "gateway_disk_free_bytes": "disk_free_bytes",
}
GPU = frozenset({"nv_gpu_utilization", "nv_gpu_memory_used_bytes", "nv_gpu_memory_total_bytes",
                 "nv_gpu_power_usage"})  # fmt: skip

_PAIR = re.compile('([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\\]|\\\\.)*)"')
Key = tuple[str, tuple[tuple[str, str], ...]]
Values = dict[Key, float]


def values_of(metrics: Iterable[Metric]) -> Values:
    """All samples by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in metrics
        for sample in metric.samples
    }


def gpu_values(pages: Iterable[Page]) -> Values:
    """The values that upstreams report about their GPUs."""
    return {
        (name, tuple(sorted(_PAIR.findall(line)))): float(line.rpartition(" ")[2])
        for page in pages
        for name in GPU & page.families.keys()
        for line in page.families[name].lines
    }


@dataclass(slots=True)
class History:
    """Points of what `collect` reads; `refresh` reads the gauges before it."""

    interval_s: float
    collect: Callable[[], Values]
    refresh: Callable[[], None]
    points: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=POINTS))
    _before: Values | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Adds points until the block ends."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            await self.sample()
            await asyncio.sleep(self.interval_s)

    async def sample(self) -> None:
        """Reads the metrics; from the second time on that is a point."""
        self.refresh()
        now = await asyncio.to_thread(self.collect)
        before, self._before = self._before, now
        if before is not None:
            self.points.append(point(before, now, time.time()))


def point(before: Values, now: Values, at_s: float) -> dict[str, Any]:
    """The changes between two readings, and the gauges of the later one."""
    made = _Point({"time": round(at_s, 1)})
    for (name, pairs), value in now.items():
        # a process that started again counts from zero
        more = max(value - before.get((name, pairs), 0), 0)
        made.see(name, dict(pairs), value, more)
    return made.finish()


@dataclass(slots=True)
class _Point:
    plain: dict[str, Any]
    models: defaultdict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    groups: dict[str, dict[str, float]] = field(
        default_factory=lambda: {"refusals": {}, "backlog": {}, "upstreams_up": {}}
    )
    gpus: defaultdict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    buckets: defaultdict[tuple[str, str], list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def see(self, name: str, labels: dict[str, str], value: float, more: float) -> None:
        if name in _PLAIN:
            self.plain[_PLAIN[name]] = value
        elif name == "process_cpu_seconds_total":
            self.plain["cpu_s"] = round(more, 3)
        elif name == "gateway_refusals_total":
            if more:
                self.groups["refusals"][labels["reason"]] = more
        elif name == "gateway_backlog":
            self.groups["backlog"][labels["queue"]] = value
        elif name == "gateway_upstream_up":
            self.groups["upstreams_up"][labels["upstream"]] = value
        elif name in GPU:
            self.gpus[f"{labels['upstream']}/{labels.get('gpu_uuid', '')}"][name] = value
        elif "model" in labels:
            self._see_model(name, labels, value, more)

    def _see_model(self, name: str, labels: dict[str, str], value: float, more: float) -> None:
        model, base = labels["model"], name.removesuffix("_bucket")
        if base in _TIMES and base != name:
            self.buckets[base, model].append((float(labels["le"]), more))
        elif name == "gateway_requests_total" and more:
            _add(self.models[model], "requests", more)
            _add(self.models[model], "errors", more if labels["status"] >= "500" else 0)
        elif name == "gateway_tokens_total" and more:
            _add(self.models[model], f"{labels['kind']}_tokens", more)
        elif name in ("gateway_requests_running", "gateway_requests_waiting") and value:
            self.models[model][name.removeprefix("gateway_requests_")] = value

    def finish(self) -> dict[str, Any]:
        for (base, model), counts in self.buckets.items():
            counts.sort()
            if counts[-1][1]:
                self.models[model][f"{_TIMES[base]}_p50_s"] = quantile(0.5, counts)
                self.models[model][f"{_TIMES[base]}_p95_s"] = quantile(0.95, counts)
        busiest = sorted(self.models, key=lambda m: -self.models[m].get("requests", 0))
        models = {model: self.models[model] for model in busiest[:_MAX_MODELS]}
        return {**self.plain, **self.groups, "gpus": dict(self.gpus), "models": models}


def _add(to: dict[str, float], name: str, value: float) -> None:
    to[name] = to.get(name, 0) + value


def quantile(part: float, counts: list[tuple[float, float]]) -> float:
    """As PromQL's `histogram_quantile`: linear within a bucket; `counts` are cumulative."""
    rank = part * counts[-1][1]
    below, before = 0.0, 0.0
    for bound, count in counts:
        if count >= rank:
            if bound == float("inf"):
                return below
            inside = count - before
            return round(below + (bound - below) * ((rank - before) / inside if inside else 1), 6)
        below, before = bound, count
    return below
