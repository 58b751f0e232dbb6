"""One gateway process under a crowd: 2,000 open streams, then ten times more requests than it runs.

Streams: every client opens one and reads it to its end; a token comes every second from a small
server on loopback, so that the gateway alone is measured. Overload: the upstream runs 8
requests of 100 ms each, and clients keep ten times as many waiting as may wait; what is refused
is sent again after 0.2 s. Memory is what the process holds alone. What fills under overload has a
bound: audit records that wait (the setting `max_audit_records`, 20,000, each about 1.3 KiB), ids of
the process's own requests (20,000), decisions of the queue (1,000) and of upstreams (256).
"""

import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks import openai_server
from benchmarks.loopback import Connection
from tests.support.gateway import Gateway, run_gateway

STREAMS, TOKENS, GAP_S = 2000, 20, 1.0
RUNNING, WAITING, CLIENTS = 8, 8, 160
_WORK_S = 0.1
_SAMPLE_S = 20.0


@dataclass(frozen=True, slots=True)
class Streams:
    """How many were open at once, their tokens, and what they cost the gateway."""

    open: int
    tokens: int
    cpu_ms: float
    mib_before: float
    mib: float


@dataclass(slots=True)
class Overload:
    """Answers by status, and after this many seconds: MiB of the gateway, waiting audit records."""

    statuses: Counter[int] = field(default_factory=Counter)
    mib: dict[int, float] = field(default_factory=dict)
    backlog: dict[int, int] = field(default_factory=dict)

    @property
    def plateau(self) -> tuple[float, float]:
        """Mean MiB of the last third of the time, and of the third before."""
        values = [*self.mib.values()]
        size = max(len(values) // 3, 1)
        last, before = values[-size:], values[-2 * size : -size] or values[:size]
        return sum(last) / len(last), sum(before) / len(before)


def measure_streams() -> Streams:
    """2,000 streams at once through one process."""
    return asyncio.run(_streams())


def measure_overload(seconds: int) -> Overload:
    """Ten times more requests than run, for so long."""
    return asyncio.run(_overload(seconds))


async def _streams() -> Streams:
    flags = ["--max-running", str(STREAMS + 10), "--max-connections-per-address", "4096"]
    with tempfile.TemporaryDirectory() as scratch:
        async with _gateway(Path(scratch), flags) as gateway:
            return await _open_all(gateway)


async def _open_all(gateway: Gateway) -> Streams:
    process = psutil.Process(gateway.process.pid)
    before, cpu_s = _mib(process), sum(process.cpu_times()[:2])
    body = openai_server.ask(TOKENS, GAP_S, stream=True)
    links = [Connection(gateway.port) for _ in range(STREAMS)]
    asked = [asyncio.create_task(one.post("/v1/chat/completions", dict(body))) for one in links]
    most = mib = 0.0
    while not all(one.done() for one in asked):
        running = await asyncio.to_thread(_running, gateway)
        if running >= most:
            most, mib = running, _mib(process)
        await asyncio.sleep(1)
    answers = [await one for one in asked]
    tokens = sum(one.body.count(b'"content":"token') for one in answers)
    cpu_ms = 1000 * (sum(process.cpu_times()[:2]) - cpu_s) / STREAMS
    for one in links:
        one.close()
    if failed := next((one for one in answers if one.status != 200), None):
        raise RuntimeError(f"status {failed.status}: {failed.body[:300]!r}")
    return Streams(int(most), tokens, cpu_ms, before, mib)


async def _overload(seconds: int) -> Overload:
    flags = ["--max-running", str(RUNNING), "--max-waiting", str(WAITING)]
    with tempfile.TemporaryDirectory() as scratch:
        async with _gateway(Path(scratch), flags) as gateway:
            return await _press(gateway, seconds)


async def _press(gateway: Gateway, seconds: int) -> Overload:
    process, seen = psutil.Process(gateway.process.pid), Overload()
    begun_s = time.monotonic()
    body = openai_server.ask(1, _WORK_S, stream=False, padding="fast " * 200)

    async def ask() -> None:
        link = Connection(gateway.port)
        while time.monotonic() - begun_s < seconds:
            answer = await link.post("/v1/chat/completions", dict(body))
            seen.statuses[answer.status] += 1
            if answer.status != 200:
                await asyncio.sleep(0.2)  # as a client that does not heed retry-after
        link.close()

    clients = [asyncio.create_task(ask()) for _ in range(CLIENTS)]
    every_s = min(_SAMPLE_S, seconds / 6)
    while (passed_s := time.monotonic() - begun_s) < seconds:
        seen.mib[round(passed_s)] = _mib(process)
        seen.backlog[round(passed_s)] = await asyncio.to_thread(_backlog, gateway)
        await asyncio.sleep(every_s)
    await asyncio.gather(*clients)
    seen.mib[seconds] = _mib(process)
    seen.backlog[seconds] = await asyncio.to_thread(_backlog, gateway)
    return seen


@asynccontextmanager
async def _gateway(scratch: Path, flags: list[str]) -> AsyncIterator[Gateway]:
    """A gateway in front of a server on loopback."""
    async with openai_server.running() as url:
        file = scratch / "upstreams.json"
        entry = {"name": "far", "url": url, "engine": "vllm"}
        await asyncio.to_thread(file.write_text, json.dumps({"upstreams": [entry]}))
        made = run_gateway("x", scratch / "log", "--upstreams", str(file), *flags)
        gateway = await asyncio.to_thread(made.__enter__)
        try:
            yield gateway
        finally:
            await asyncio.to_thread(made.__exit__, None, None, None)


def _running(gateway: Gateway) -> float:
    return _sum_of(gateway, "gateway_requests_running{")


def _backlog(gateway: Gateway) -> int:
    """Audit records that wait to be written."""
    return int(_sum_of(gateway, "gateway_audit_backlog "))


def _sum_of(gateway: Gateway, start: str) -> float:
    import urllib.request

    with urllib.request.urlopen(f"{gateway.url}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start))


def _mib(process: psutil.Process) -> float:
    return float(process.memory_full_info().uss) / 2**20
