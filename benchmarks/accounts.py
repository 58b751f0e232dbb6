"""What a request costs the gateway's process with accounts on: CPU over the echo engine.

Each request has a key, limits on requests, tokens and running requests of its key, user and group,
a price, an audit record and a usage row; with "credits" its user pays from a plan as well. On
SQLite, and on PostgreSQL with limits in Redis. Only the gateway's process counts, threads included.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.gateway import BURST, UNARY, cpu_s
from benchmarks.loopback import run_load
from frontend.accounts.credits import CREDIT
from frontend.accounts.directory.actor import OPERATOR
from frontend.domain.allowances import NewQuota
from frontend.store.database import Database
from frontend.store.location import Location
from tests.support.accounts import add, opened
from tests.support.databases import Databases
from tests.support.echo import running_echo
from tests.support.gateway import run_gateway
from tests.support.redis import RedisServer
from tests.support.repository import echo_repository
from toolkit.runtime.environments import link_environments

STORES = ("SQLite", "PostgreSQL + Redis")
_PLENTY = 10**12


@dataclass(frozen=True, slots=True)
class Case:
    """A load: so many requests that send `script`, so many of them in flight."""

    what: str
    script: str
    in_flight: int
    requests: int
    limit_ms: float


CASES = (
    Case("unary request", UNARY, 1, 1000, 1.0),
    Case("unary request", UNARY, 8, 2000, 1.0),
    Case("64-chunk stream, in a burst", BURST, 1, 250, 5.0),
    Case("64-chunk stream, in a burst", BURST, 8, 500, 5.0),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of the gateway's process for each request of a case."""

    store: str
    case: Case
    pays: bool
    cpu_ms: float


def measure() -> list[Cost]:
    """On both stores, without and with credits."""
    costs = []
    for store in STORES:
        with _gateway(store) as (process, port, keys):
            for pays, key in enumerate(keys):
                for case in CASES:
                    _load(port, key, case, max(case.requests // 4, case.in_flight))
                    before = cpu_s(process)
                    _load(port, key, case, case.requests)
                    ms = (cpu_s(process) - before) * 1000 / case.requests
                    costs.append(Cost(store, case, bool(pays), ms))
    return costs


@contextmanager
def _gateway(store: str) -> Iterator[tuple[psutil.Process, int, list[str]]]:
    """Its process, its port, and the keys of a user without and of one with credits."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory()))
        databases = Databases(scratch / "databases")
        (scratch / "databases").mkdir()
        stack.callback(databases.close)
        flags = ["--require-keys", "--data-directory", str(scratch / "data")]
        if store == "SQLite":
            location = databases.sqlite()
            flags += ["--database-url", f"sqlite:///{location.file}"]
        else:
            location = databases.postgres()
            flags += ["--database-url", location.url.render_as_string().replace("+asyncpg", "")]
            redis = RedisServer(scratch)
            redis.start()
            stack.callback(redis.stop)
            flags += ["--redis-url", redis.url]
        keys = asyncio.run(add_users(location, "echo"))
        repository = scratch / "model_repository"
        repository.mkdir()
        echo_repository(repository)
        link_environments(repository)
        triton = stack.enter_context(running_echo(repository, scratch / "triton.log"))
        gateway = stack.enter_context(run_gateway(triton.grpc_address, scratch / "log", *flags))
        yield psutil.Process(gateway.process.pid), gateway.port, keys


async def add_users(location: Location, model: str) -> list[str]:
    """Keys of a user with limits, and of one who pays for the model as well."""
    database = Database(location)
    directory = await opened(database)
    keys = []
    for name in ("limited", "paying"):
        user, key = await add(directory, name, "student")
        keys.append(key)
        for scope, scope_id, measure_, period in (
            ("group", user.group_id, "tokens", "month"),
            ("user", user.id, "requests", "minute"),
            ("user", user.id, "tokens", "month"),
            ("user", user.id, "concurrency", "none"),
        ):
            if scope == "user" or name == "limited":
                quota = NewQuota(scope, scope_id, measure_, period, _PLENTY)
                await directory.quotas.create(OPERATOR, quota)
    price = {"prompt_micro": 3, "cached_micro": 1, "completion_micro": 15, "credits_micro": CREDIT}
    await directory.prices.create(OPERATOR, model, price)
    await directory.subscriptions.subscribe(OPERATOR, "user", user.id, "developer")
    await directory.subscriptions.grant(OPERATOR, "user", user.id, 10**6 * CREDIT, "")
    await database.close()
    return keys


def _load(port: int, key: str, case: Case, count: int) -> None:
    body = {
        "model": "echo",
        "messages": [{"role": "user", "content": case.script}],
        "stream": case.script != UNARY,
        "max_tokens": 100,
    }
    asyncio.run(run_load(port, "/v1/chat/completions", [body] * count, case.in_flight, key))
