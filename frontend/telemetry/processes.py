"""Metrics of several gateway processes that share a folder of files, the library's own format.

A process that is gone leaves its counters, so that no sum ever falls, and its gauges are removed.
"""

import os
import re
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

_LIVE = re.compile(r"gauge_live\w+_(\d+)\.db")


def begin_process(folder: str | None) -> None:
    """Removes the gauges of an earlier process: in a container each one may be number 1."""
    if folder is None:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    mark_process_dead(os.getpid(), folder)  # type: ignore[no-untyped-call]


def registry_of_all(folder: str) -> CollectorRegistry:
    """What all processes counted; CPU and memory are those of the one that is asked."""
    for file in Path(folder).iterdir():
        match = _LIVE.fullmatch(file.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            mark_process_dead(int(match[1]), folder)  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    ProcessCollector(registry=registry)
    return registry
