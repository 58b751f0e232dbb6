"""How many requests per second the ledger reserves and settles, and what each costs.

Each request has four limits (group, user and key) and a usage row. CPU is that of the process that
holds the ledger, threads included; PostgreSQL runs beside it on the same cores, without fsync.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from frontend.accounts.quotas import Grant, Need
from frontend.accounts.share import Share
from frontend.accounts.shared import LEASE_US, Shared
from frontend.domain.metering import Owner
from frontend.store.database import Database
from frontend.store.redis import SharedCounters
from tests.support.databases import Databases
from tests.support.ledgers import add_quota, hold_of, ledger_of, used
from tests.support.redis import RedisServer

KINDS = ("sqlite", "sqlite + Redis", "postgres", "postgres + Redis")
_USERS = 50
_LIMITS = (
    ("group", "team", "tokens", "month"),
    ("user", "", "requests", "minute"),
    ("user", "", "tokens", "month"),
    ("key", "", "concurrency", "none"),
)


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests per second, CPU of each, and how long a reserve waits at the median."""

    database: str
    in_flight: int
    per_s: float
    cpu_ms: float
    wait_ms: float


def measure(requests: int = 4000) -> list[Rate]:
    """On both databases, for a few and many requests in flight."""
    rows = []
    with _databases() as databases, _redis() as redis:
        for kind in KINDS:
            for in_flight in (1, 8, 64, 256):
                location = databases.sqlite() if "sqlite" in kind else databases.postgres()
                count = requests if in_flight > 8 else requests // 8
                url = redis.url if "Redis" in kind else ""
                redis.flush()
                rows.append(asyncio.run(_measure(kind, Database(location), url, in_flight, count)))
    return rows


async def _measure(
    kind: str, database: Database, redis_url: str, in_flight: int, count: int
) -> Rate:
    for number in range(_USERS):
        for scope, scope_id, measure_, period in _LIMITS:
            if scope == "group" and number:
                continue
            whose = scope_id or f"{scope}-{number}"
            await add_quota(database, measure_, period, 10**9, scope_kind=scope, scope_id=whose)
    waits: list[float] = []
    shared = None
    if redis_url:
        shared = Shared(SharedCounters(redis_url, 10, LEASE_US), Share())
    async with ledger_of(database, shared=shared) as ledger:
        left = iter(range(count))

        async def client() -> None:
            for number in left:
                user = number % _USERS
                hold = hold_of(Owner("org", "team", f"user-{user}", f"key-{user}"))
                started_s = time.perf_counter()
                granted = await ledger.reserve(hold, Need(100, 400, 1))
                waits.append(time.perf_counter() - started_s)
                assert isinstance(granted, Grant)
                ledger.settle(used(hold, 100, 300))

        begun_s, cpu_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*(client() for _ in range(in_flight)))
    took_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - cpu_s
    await database.close()
    median = sorted(waits)[len(waits) // 2]
    return Rate(kind, in_flight, count / took_s, cpu_s * 1000 / count, median * 1000)


@contextmanager
def _redis() -> Iterator[RedisServer]:
    with TemporaryDirectory() as scratch:
        server = RedisServer(Path(scratch))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def _databases() -> Iterator[Databases]:
    with TemporaryDirectory() as scratch:
        databases = Databases(Path(scratch))
        try:
            yield databases
        finally:
            databases.close()
