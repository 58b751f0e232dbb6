"""How many requests per second the ledger reserves and settles, and what each costs.

Each request has four limits (group, user and key) and a usage row. CPU is that of the process that
holds the ledger, threads included; PostgreSQL runs beside it on the same cores, without fsync. Two
gateways are two ledgers in one process that count in the same limits. Lock waits: of looks at
`pg_stat_activity` every 5 ms, the share that found a connection which waits for another's row.
To reach: 1,000 per second on PostgreSQL, without a queue for locks.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import text

from frontend.accounts.ledger import Ledger
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
_LOOK_S = 0.005
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
    ledgers: int
    in_flight: int
    per_s: float
    cpu_ms: float
    wait_ms: float
    locked: str


@dataclass(frozen=True, slots=True)
class Load:
    """So many requests at so many ledgers, so many of them in flight."""

    kind: str
    ledgers: int
    in_flight: int
    requests: int


@dataclass(slots=True)
class Looks:
    """How often a connection to PostgreSQL is found waiting for a lock."""

    database: Database
    looks: int = 0
    waiting: int = 0

    @property
    def share(self) -> str:
        """Of all looks."""
        return f"{self.waiting / self.looks:.1%} of {self.looks}" if self.looks else "-"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Looks until the block ends."""
        task = asyncio.create_task(self._look())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _look(self) -> None:
        if self.database.location.is_sqlite:
            return
        query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        while True:
            async with self.database.connect() as connection:
                self.waiting += bool((await connection.execute(query)).scalar_one())
            self.looks += 1
            await asyncio.sleep(_LOOK_S)


def measure(requests: int = 4000) -> list[Rate]:
    """On both databases, for a few and many requests in flight."""
    rows = []
    with _databases() as databases, _redis() as redis:
        for kind, ledgers in (*((kind, 1) for kind in KINDS), ("postgres", 2)):
            for in_flight in (1, 8, 64, 256):
                location = databases.sqlite() if "sqlite" in kind else databases.postgres()
                count = requests if in_flight > 8 else requests // 8
                url = redis.url if "Redis" in kind else ""
                redis.flush()
                load = Load(kind, ledgers, in_flight, count)
                rows.append(asyncio.run(_measure(load, Database(location), url)))
    return rows


async def _measure(load: Load, database: Database, redis_url: str) -> Rate:
    for number in range(_USERS):
        for scope, scope_id, measure_, period in _LIMITS:
            if scope == "group" and number:
                continue
            whose = scope_id or f"{scope}-{number}"
            await add_quota(database, measure_, period, 10**9, scope_kind=scope, scope_id=whose)
    waits: list[float] = []
    looks = Looks(database)
    async with AsyncExitStack() as stack:
        ledgers = [
            await stack.enter_async_context(ledger_of(database, shared=_shared(redis_url)))
            for _ in range(load.ledgers)
        ]
        await stack.enter_async_context(looks.running())
        left = iter(range(load.requests))

        async def client(ledger: Ledger) -> None:
            for number in left:
                user = number % _USERS
                hold = hold_of(Owner("org", "team", f"user-{user}", f"key-{user}"))
                started_s = time.perf_counter()
                granted = await ledger.reserve(hold, Need(100, 400, 1))
                waits.append(time.perf_counter() - started_s)
                assert isinstance(granted, Grant)
                ledger.settle(used(hold, 100, 300))

        begun_s, cpu_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*(client(ledgers[n % len(ledgers)]) for n in range(load.in_flight)))
    took_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - cpu_s
    await database.close()
    median = sorted(waits)[len(waits) // 2]
    return Rate(
        load.kind,
        load.ledgers,
        load.in_flight,
        load.requests / took_s,
        cpu_s * 1000 / load.requests,
        median * 1000,
        looks.share,
    )


def _shared(redis_url: str) -> Shared | None:
    return Shared(SharedCounters(redis_url, 10, LEASE_US), Share()) if redis_url else None


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
