"""What the gateway itself costs: CPU of its process per request, over the scripted echo engine.

CPU, not time: the engine and the client run on the same cores, and only the gateway is counted.
A stream has 64 tokens and 64 chunks. Tokens less than 10 ms apart travel from Triton together (a
burst is that case); a token every 12 ms is a response each, the dearest case there is.
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

UNARY, BURST, SPACED = "hello", '{"chunks": 64}', '{"chunks": 64, "delay_ms": 12}'
CASES = (
    ("unary request", UNARY, 1.0),
    ("64-chunk stream, in a burst", BURST, 5.0),
    ("64-chunk stream, a token every 12 ms", SPACED, 5.0),
)


def measure(requests: int = 1000) -> list[tuple[str, float, float]]:
    """(what, CPU ms per request, limit in ms) for unary requests and 64-chunk streams."""
    rows = []
    with echo_service() as service:
        (gateway,) = [
            p for p in service.named("frontend") if "guard.py" not in " ".join(p.cmdline())
        ]
        for workers in (1, 8):
            for what, script, limit_ms in CASES:
                count = requests if script == UNARY else requests // (4 if script == BURST else 16)
                _load(service.port, count // 4, workers, script)
                before = _cpu_s(gateway)
                _load(service.port, count, workers, script)
                spent_ms = (_cpu_s(gateway) - before) * 1000 / count
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


def _load(port: int, count: int, workers: int, script: str) -> None:
    body = {
        "model": "echo",
        "messages": [{"role": "user", "content": script}],
        "stream": script != UNARY,
    }
    asyncio.run(run_load(port, "/v1/chat/completions", [body] * count, workers))


def _cpu_s(process: psutil.Process) -> float:
    ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
