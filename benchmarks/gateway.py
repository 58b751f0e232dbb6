"""What the gateway itself costs: CPU of its process per request, over the scripted echo engine.

CPU, not time: the engine and the client run on the same cores, and only the gateway is counted.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.loopback import run_load
from tests.processes import Service, served
from tests.python_backends.repository import echo_repository

UNARY_LIMIT_MS, STREAM_LIMIT_MS = 1.0, 5.0


def measure(requests: int = 1000) -> list[tuple[str, float, float]]:
    """(what, CPU ms per request, limit in ms) for unary requests and 64-chunk streams."""
    rows = []
    with echo_service() as service:
        (gateway,) = [
            p for p in service.named("frontend") if "guard.py" not in " ".join(p.cmdline())
        ]
        for workers in (1, 8):
            for stream, limit_ms in ((False, UNARY_LIMIT_MS), (True, STREAM_LIMIT_MS)):
                count = requests // 4 if stream else requests
                _load(service.port, count // 4, workers, stream)
                before = _cpu_s(gateway)
                _load(service.port, count, workers, stream)
                spent_ms = (_cpu_s(gateway) - before) * 1000 / count
                what = "64-chunk stream" if stream else "unary request"
                rows.append((f"{what}, {workers} in flight", spent_ms, limit_ms))
    return rows


@contextmanager
def echo_service() -> Iterator[Service]:
    """`toolkit serve` on the echo models."""
    with TemporaryDirectory() as scratch:
        repository = Path(scratch, "model_repository")
        repository.mkdir()
        echo_repository(repository)
        with served(repository, Path(scratch, "log")) as service:
            yield service


def _load(port: int, count: int, workers: int, stream: bool) -> None:
    script = '{"chunks": 64}' if stream else "hello"
    body = {
        "model": "echo",
        "messages": [{"role": "user", "content": script}],
        "stream": stream,
    }
    asyncio.run(run_load(port, "/v1/chat/completions", [body] * count, workers))


def _cpu_s(process: psutil.Process) -> float:
    ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
