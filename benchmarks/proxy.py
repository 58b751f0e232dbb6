"""The gateway against a bare proxy of Starlette and aiohttp, in front of one small HTTP server.

CPU of the process for each request, in turns. The gateway has everything on: a key, limits, a
price, fair share, metrics, log, audit and usage rows in SQLite; the peer passes bytes on without
reading them. Streams have 64 tokens, all together (a burst) or one every 12 ms for 64 streams. The
cost of one more token is the difference to slow streams of 8.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks import openai_server
from benchmarks.accounts import add_users
from benchmarks.gateway import cpu_s
from benchmarks.loopback import run_load
from benchmarks.pairs import Ratio, compare
from frontend.store.location import Location
from tests.support.databases import Databases
from tests.support.gateway import run_gateway
from tests.support.processes import free_port, status_of, wait_for


@dataclass(frozen=True, slots=True)
class Case:
    """A load: so many requests with this body, so many of them in flight."""

    what: str
    body: dict[str, Any]
    in_flight: int
    requests: int


CASES = (
    Case("unary requests, 1 in flight", openai_server.ask(1, stream=False), 1, 400),
    Case("unary requests, 8 in flight", openai_server.ask(1, stream=False), 8, 800),
    Case("bursts of 64 tokens, 8 in flight", openai_server.ask(64, stream=True), 8, 200),
    Case("64 slow streams", openai_server.ask(64, 0.012, stream=True), 64, 256),
    Case("64 slow streams of 8 tokens", openai_server.ask(8, 0.012, stream=True), 64, 256),
)


def measure(rounds: int) -> list[Ratio]:
    """CPU of the gateway's process over that of the peer's."""
    return asyncio.run(_measure(rounds))


async def _measure(rounds: int) -> list[Ratio]:
    async with openai_server.running() as url:
        with TemporaryDirectory() as scratch, _peer(url) as peer:
            async with _gateway(Path(scratch), url) as (gateway, key):
                return await asyncio.to_thread(
                    compare,
                    lambda: _costs(*gateway, key),
                    lambda: _costs(*peer, ""),
                    rounds,
                )


def _costs(process: psutil.Process, port: int, key: str) -> dict[str, float]:
    costs = {}
    for case in CASES:
        before = cpu_s(process)
        bodies = [case.body] * case.requests
        asyncio.run(run_load(port, "/v1/chat/completions", bodies, case.in_flight, key))
        costs[f"CPU ms, {case.what}"] = (cpu_s(process) - before) * 1000 / case.requests
    long_ms, short_ms = (costs[f"CPU ms, {case.what}"] for case in CASES[-2:])
    return costs | {"CPU µs, one more token of a slow stream": (long_ms - short_ms) * 1000 / 56}


@contextmanager
def _peer(url: str) -> Iterator[tuple[psutil.Process, int]]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.peer_proxy", str(port), url]
    process = subprocess.Popen(command)
    try:
        wait_for(lambda: status_of(f"http://127.0.0.1:{port}/") == 404, 60, "the peer")
        yield psutil.Process(process.pid), port
    finally:
        process.terminate()
        process.wait()


@asynccontextmanager
async def _gateway(
    scratch: Path, url: str
) -> AsyncIterator[tuple[tuple[psutil.Process, int], str]]:
    databases = Databases(scratch)
    location: Location = databases.sqlite()
    keys = await add_users(location, "m")
    flags = ["--require-keys", "--data-directory", str(scratch / "data"), "--max-running", "100"]
    flags += ["--database-url", f"sqlite:///{location.file}"]
    file = scratch / "upstreams.json"
    file.write_text(f'{{"upstreams": [{{"name": "far", "url": "{url}", "engine": "vllm"}}]}}')
    made = run_gateway("x", scratch / "log", "--upstreams", str(file), *flags)
    gateway = await asyncio.to_thread(made.__enter__)
    try:
        yield (psutil.Process(gateway.process.pid), gateway.port), keys[0]
    finally:
        await asyncio.to_thread(made.__exit__, None, None, None)
        databases.close()
