"""The gauges of what waits, runs and is there; read when somebody asks for the metrics."""

import shutil
from pathlib import Path as FilePath

from frontend.cache.memory import MemoryEntries
from frontend.generation.path import Path
from frontend.scheduling.report import attained_of, jain_of, longest_wait_s
from frontend.telemetry.metrics import Metrics


def watch(metrics: Metrics, path: Path, folder: FilePath) -> None:
    """Has `metrics` read the parts of a gateway; `folder` holds its own files."""
    _watch_upstreams(metrics, path)
    _watch_queue(metrics, path)
    _watch_models(metrics, path)
    metrics.watch(
        "disk_free_bytes", "Free space where the gateway's own files are",
        lambda: shutil.disk_usage(_existing(folder)).free,
    )  # fmt: skip
    metrics.watch(
        "disk_size_bytes", "Size of the disk that they are on",
        lambda: shutil.disk_usage(_existing(folder)).total,
    )  # fmt: skip


def _watch_upstreams(metrics: Metrics, path: Path) -> None:
    fleet = path.fleet
    metrics.watch(
        "upstream_up", "Whether an upstream answered the last poll",
        lambda: {one.name: float(one.registry.is_reachable) for one in fleet.members}, "upstream",
    )  # fmt: skip
    metrics.watch(
        "upstream_running", "Requests of this gateway that run at an upstream",
        lambda: {one.name: float(one.running) for one in fleet.members}, "upstream",
    )  # fmt: skip
    metrics.watch(
        "upstream_stale", "Whether an upstream's figures are too old to choose by",
        lambda: {one.name: float(one.is_stale) for one in fleet.members}, "upstream",
    )  # fmt: skip
    metrics.watch(
        "upstream_waiting", "Requests that wait at an upstream, as far as it is known",
        lambda: {one.name: one.queue for one in fleet.members}, "upstream",
    )  # fmt: skip
    metrics.watch(
        "upstream_breakers", "Models whose circuit breaker at an upstream is not closed",
        lambda: {one.name: len(one.broken) for one in fleet.members}, "upstream",
    )  # fmt: skip


def _watch_queue(metrics: Metrics, path: Path) -> None:
    queue, ledger = path.queue, path.ledger
    metrics.watch(
        "fair_share_jain", "Jain's index of the users who wait; 1: perfectly fair",
        lambda: jain_of(queue), mode="livemin",
    )  # fmt: skip
    metrics.watch(
        "fair_share_attained", "What a group with waiting requests was served, in cost",
        lambda: attained_of(queue), "group",
    )  # fmt: skip
    metrics.watch(
        "queue_longest_wait_seconds", "How long the first of the waiting requests has waited",
        lambda: longest_wait_s(queue), mode="livemax",
    )  # fmt: skip
    metrics.watch(
        "backlog", "What waits to be written, by queue",
        lambda: {"ledger": 0 if ledger is None else ledger.backlog}, "queue",
    )  # fmt: skip
    metrics.watch("draining", "Whether new requests are refused", lambda: float(path.draining))


def _watch_models(metrics: Metrics, path: Path) -> None:
    fleet = path.fleet
    metrics.watch(
        "models", "Models by state: ready, or seen before and not ready now",
        lambda: {"ready": len(fleet.models), "absent": len(fleet.absent)}, "state",
    )  # fmt: skip
    metrics.watch(
        "canary_withdrawn", "Models that get no more requests for a name, because they failed",
        lambda: path.shares.withdrawn, "canary", mode="livemax",
    )  # fmt: skip
    entries = None if path.cache is None else path.cache.entries
    if isinstance(entries, MemoryEntries):
        metrics.watch(
            "cache_size_bytes", "Bytes of answers in the response cache", lambda: entries.size_bytes
        )


def _existing(folder: FilePath) -> FilePath:
    # a gateway with a database elsewhere may have no file of its own yet
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
