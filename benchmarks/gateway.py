"""What the gateway itself costs: CPU of its process per request, over the scripted echo engine.

CPU, not time: the engine and the client run on the same cores, and only the gateway is counted.
A stream has 64 tokens, which the engine makes together (a burst) or one every 12 ms, as a real
one does. Tokens less than 10 ms apart travel together, and with many streams under way those of
1.4 ms for each stream. Every token of a lone slow stream is a message of its own, and each wakes a
process that sleeps: those rows have no bound, and show what that costs.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.loopback import run_load
from tests.support.processes import Service, served
from tests.support.repository import echo_repository

UNARY, BURST, SPACED = "hello", '{"chunks": 64}', '{"chunks": 64, "delay_ms": 12}'


@dataclass(frozen=True, slots=True)
class Case:
    """A load: so many requests that send `script`, so many of them in flight."""

    what: str
    script: str
    in_flight: int
    requests: int
    limit_ms: float | None


CASES = (
    Case("unary request", UNARY, 1, 1000, 1.0),
    Case("unary request", UNARY, 8, 1000, 1.0),
    Case("64-chunk stream, in a burst", BURST, 1, 250, 5.0),
    Case("64-chunk stream, in a burst", BURST, 8, 250, 5.0),
    Case("64-chunk stream, a token every 12 ms", SPACED, 64, 512, 5.0),
    Case("64-chunk stream, a token every 12 ms", SPACED, 8, 64, None),
    Case("64-chunk stream, a token every 12 ms", SPACED, 1, 16, None),
)


def measure() -> list[tuple[Case, float]]:
    """CPU ms of the gateway's process per request, for each case."""
    rows = []
    with echo_service() as service:
        gateway = gateway_of(service)
        for case in CASES:
            _load(service.port, case, max(case.requests // 4, case.in_flight))
            before = cpu_s(gateway)
            _load(service.port, case, case.requests)
            rows.append((case, (cpu_s(gateway) - before) * 1000 / case.requests))
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


def gateway_of(service: Service) -> psutil.Process:
    """The gateway's process."""
    found = service.named("frontend")
    (gateway,) = [each for each in found if "guard.py" not in " ".join(each.cmdline())]
    return gateway


def _load(port: int, case: Case, count: int) -> None:
    body = {
        "model": "echo",
        "messages": [{"role": "user", "content": case.script}],
        "stream": case.script != UNARY,
    }
    asyncio.run(run_load(port, "/v1/chat/completions", [body] * count, case.in_flight))


def cpu_s(process: psutil.Process) -> float:
    """The CPU time of a process so far."""
    ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
