"""Everything fails under load, and then the books agree: counters, usage, sums, metrics, audit."""

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from frontend.store.database import Database
from frontend.store.location import Location, parse_location
from frontend.store.migrate import upgrade
from frontend.store.tables import audit_records, counters, gateways, usage, usage_hourly
from tests.support.accounts import add, opened
from tests.support.bank import Bank
from tests.support.databases import Postgres, server_folder
from tests.support.echo import EchoTriton, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.ledgers import check_books, rows_of
from tests.support.metrics import value_of
from tests.support.processes import PATIENCE_S
from tests.support.redis import RedisServer

_TOKENS = ("prompt", "cached", "completion", "reasoning")
_BUDGETS = {"rich": 10_000_000, "poor": 4_000, "thrifty": 60_000, "streams": 1_000_000}
_ASKING = ("rich", "poor", "thrifty", "paying")
_CLIENTS, _STREAMS = 12, 4


@dataclass
class Town:
    """Two gateways, what they depend on, and users with large and small budgets."""

    triton: str
    folder: Path
    postgres: Postgres
    redis: RedisServer
    location: Location
    admin: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def gateway(self, name: str) -> Iterator[Gateway]:
        """Both keep their files in one folder, as two processes on one machine do."""
        flags = ["--require-keys", "--database-url", self.postgres.url("chaos")]
        flags += ["--redis-url", self.redis.url, "--redis-gateways", "2"]
        flags += ["--data-directory", str(self.folder / "data")]
        with run_gateway(self.triton, self.folder / name, *flags) as it:
            yield it


def metrics_of(gateway: Gateway) -> str:
    return httpx2.get(f"{gateway.url}/metrics", timeout=PATIENCE_S).text


@pytest.fixture(scope="module")
def town(echo_triton: EchoTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("t")
    postgres, redis = Postgres(server_folder() / "pg"), RedisServer(folder, password="hunter2")
    postgres.start()
    redis.start()
    postgres.execute("CREATE DATABASE chaos")
    location = parse_location(postgres.url("chaos"))
    made = Town(echo_triton.grpc_address, folder, postgres, redis, location)

    async def staffed() -> str:
        database = Database(location)
        await upgrade(database)
        _, key = await add(await opened(database), "chief", "admin")
        await database.close()
        return key

    made.admin = asyncio.run(staffed())
    with made.gateway("first") as gateway:
        bank = Bank(gateway, location, made.admin)
        bank.make("/admin/prices", model="echo", prompt=1.0, completion=2.0, credits=1.0)
        for name, tokens in _BUDGETS.items():
            made.users[name], made.keys[name] = bank.user(
                name, tokens_month=tokens, requests_minute=2000, concurrency_none=4
            )
        made.users["paying"], made.keys["paying"] = bank.user("paying")
        holder = {"scope_kind": "user", "scope_id": made.users["paying"]}
        bank.make("/admin/subscriptions", **holder, plan_id="developer")
    yield made
    redis.stop()
    postgres.stop()


@dataclass
class Load:
    """Clients that ask in every way and note what they got, until they are stopped."""

    town: Town
    urls: list[str]
    ends: Counter[str] = field(default_factory=Counter)
    _stops: bool = False
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        limits = httpx2.Limits(max_connections=_CLIENTS)
        async with httpx2.AsyncClient(timeout=PATIENCE_S, limits=limits) as client:
            tasks = [asyncio.create_task(self._ask(client)) for _ in range(_CLIENTS)]
            try:
                yield self
            finally:
                self._stops = True
                await asyncio.gather(*tasks)

    async def more(self, answers: int, end: str = "") -> None:
        """Returns after so many more answers, of one kind or of any."""
        until = self._count(end) + answers
        async with asyncio.timeout(PATIENCE_S):
            while self._count(end) < until:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def _count(self, end: str) -> int:
        return self.ends[end] if end else self.ends.total()

    async def _ask(self, client: httpx2.AsyncClient) -> None:
        while not self._stops:
            number = next(self._numbers)
            dice = random.Random(number)
            url = self.urls[number % len(self.urls)] + "/v1/chat/completions"
            name = dice.choice(_ASKING)
            body, leaves = _body(dice)
            headers = {"authorization": f"Bearer {self.town.keys[name]}"}
            try:
                async with client.stream("POST", url, json=body, headers=headers) as answer:
                    self.ends[str(answer.status_code)] += 1
                    async for _ in answer.aiter_raw():
                        if leaves:
                            self.ends["left"] += 1
                            break
                if answer.status_code in (429, 503):
                    await asyncio.sleep(0.05)  # as a client's back-off
            except httpx2.TransportError:
                self.ends["broken"] += 1
                await asyncio.sleep(0.05)


def _body(dice: random.Random) -> tuple[dict[str, Any], bool]:
    """A request, and whether its client goes away in the middle of the answer."""
    kind = dice.choice(("unary", "unary", "stream", "leaves", "fails", "wrong"))
    chunks = dice.randrange(1, 120)
    said: dict[str, Any] = {"chunks": chunks, "delay_ms": dice.randrange(3)}
    if kind == "leaves":
        said = {"chunks": 400, "delay_ms": 10}
    if kind == "fails":
        said["fail_after"] = chunks // 2
    body = {"model": "echo", "messages": script(**said), "max_tokens": 400}
    if kind == "wrong":
        body["temperature"] = 9
    return body | {"stream": kind in ("stream", "leaves")}, kind == "leaves"


async def _reconcile(town: Town, database: Database, metrics: list[str]) -> int:
    """What every book says about every request; the number of requests."""
    sums = await check_books(database)
    rows = {row.request_id: row for row in await rows_of(database, usage)}
    sums["failures"] = sum(row.status >= 400 for row in rows.values())
    assert sums["failures"] == sum(one.failures for one in await rows_of(database, usage_hourly))
    spent: Counter[str] = Counter()
    for row in rows.values():
        spent[row.user_id] += row.prompt_tokens + row.completion_tokens
    used = {
        row.scope_id: row.used
        for row in await rows_of(database, counters)
        if (row.scope_kind, row.measure, row.period) == ("user", "tokens", "month")
    }
    for name, budget in _BUDGETS.items():
        user = town.users[name]
        assert used.get(user, 0) == spent[user] <= budget, name
    audited = [row for row in await rows_of(database, audit_records) if row.ran]
    assert Counter(row.request_id for row in audited) == Counter([*rows])
    for record in audited:
        row = rows[record.request_id]
        for name in ("user_id", "key_id", "model", "status", "credits_micro"):
            assert getattr(record, name) == getattr(row, name), (name, record, row)
        for name in _TOKENS:
            assert getattr(record, f"{name}_tokens") == getattr(row, f"{name}_tokens"), record
    if metrics:
        counted = {
            name: sum(value_of(text, f"gateway_usage_{name}_total") for text in metrics)
            for name in ("requests", "failures")
        }
        assert counted == {name: sums[name] for name in counted}
        for kind in _TOKENS:
            shown = sum(value_of(text, "gateway_usage_tokens_total", kind=kind) for text in metrics)
            assert shown == sums[f"{kind}_tokens"]
        credits = sum(value_of(text, "gateway_usage_credits_total") for text in metrics)
        assert round(credits * 1e6) == sums["credits_micro"] > 0
    return sums["requests"]


def agreed(town: Town, *counting: Gateway, ended: Sequence[str] = ()) -> int:
    """The number of requests, once all is written. The metrics are those of everyone who has
    counted since the first of them: gateways, and texts of those that have ended."""

    async def wait() -> int:
        database, deadline_s = Database(town.location), time.monotonic() + PATIENCE_S
        try:
            while True:
                try:
                    metrics = [*ended, *map(metrics_of, counting)]
                    return await _reconcile(town, database, metrics)
                except AssertionError:
                    if time.monotonic() > deadline_s:
                        raise
                await asyncio.sleep(0.5)
        finally:
            await database.close()

    return asyncio.run(wait())


async def _expire(town: Town) -> None:
    """Ends the leases of gateways, which takes 45 seconds otherwise; those alive renew theirs."""
    database = Database(town.location)
    async with database.begin() as connection:
        await connection.execute(update(gateways).values(expires_at_us=0))
    await database.close()


async def _outages(town: Town, load: Load) -> None:
    """Redis and the database go away under load, and come back."""
    async with load.running():
        await load.more(60, "200")
        await asyncio.to_thread(town.redis.kill)
        await load.more(40, "200")
        await asyncio.to_thread(town.redis.start)
        await load.more(20, "200")
        await asyncio.to_thread(lambda: town.postgres.stop(kill=True))
        await load.more(10, "503")
        await asyncio.to_thread(town.postgres.start)
        await load.more(60, "200")


async def _killed_in_streams(town: Town, load: Load, gateway: Gateway) -> str:
    """What the gateway has counted: it is killed while nothing but streams runs there."""
    body = {
        "model": "echo",
        "messages": script(chunks=900, delay_ms=10, never_finish=True),
        "stream": True,
    }
    headers = {"authorization": f"Bearer {town.keys['streams']}"}
    begun = asyncio.Semaphore(0)

    async def read(client: httpx2.AsyncClient) -> None:
        url = f"{gateway.url}/v1/chat/completions"
        with contextlib.suppress(httpx2.TransportError):
            async with client.stream("POST", url, json=body, headers=headers) as answer:
                assert answer.status_code == 200
                async for _ in answer.aiter_raw():
                    begun.release()

    async with load.running(), httpx2.AsyncClient(timeout=PATIENCE_S) as client:
        streams = [asyncio.create_task(read(client)) for _ in range(_STREAMS)]
        for _ in range(_STREAMS * 70):  # past the first counts that are written down
            await begun.acquire()
        counted = await asyncio.to_thread(metrics_of, gateway)
        gateway.process.kill()
        await asyncio.gather(*streams)
        await load.more(30, "200")
    return counted


async def _killed(load: Load, gateway: Gateway) -> None:
    """It is killed at full load."""
    async with load.running():
        await load.more(60, "200")
        gateway.process.kill()
        await load.more(1, "broken")
        await load.more(30, "200")


def test_the_books_agree_after_everything_has_failed(town: Town) -> None:
    with town.gateway("one") as one, town.gateway("two") as two:
        load = Load(town, [one.url, two.url])
        asyncio.run(_outages(town, load))
        first = agreed(town, one, two)
        assert {"200", "429", "400", "502", "503", "left"} <= {*load.ends}, load.ends
        ended = asyncio.run(_killed_in_streams(town, Load(town, [two.url]), one))
        asyncio.run(_expire(town))
        with town.gateway("three") as three:
            second = agreed(town, two, three, ended=[ended])
            assert second > first
            asyncio.run(_killed(Load(town, [two.url, three.url]), three))
            asyncio.run(_expire(town))
            with town.gateway("four"):
                # what the killed one had counted is lost with it
                assert agreed(town) > second
