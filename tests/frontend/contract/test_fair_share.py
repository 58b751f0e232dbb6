"""The published cases of fair share on live gateways: two processes on one PostgreSQL and Redis, in
front of two Tritons."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest

from frontend.domain.usage import Usage
from frontend.scheduling.cost import CostWeights
from frontend.store.database import Database
from frontend.store.location import Location
from frontend.store.tables import usage
from tests.support.accounts import add, opened
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, running_echo, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.ledgers import add_quota, rows_of
from tests.support.processes import wait_for
from tests.support.redis import RedisServer

WEIGHTS = {"student": 1, "staff": 2, "faculty": 3, "admin": 10}
SLOTS = 4
DEPTH = 16
"""Requests of each user at each gateway for each unit of weight: so many that some always wait,
also while the clients have no processor for seconds, and as many seconds of service for each user.
A gateway may serve one user alone for a while, as long as the other one serves the others."""


def plain() -> dict[str, Any]:
    return {"messages": script(text="one two three four", first_delay_ms=80)}


@dataclass
class Crowd:
    """Users who always have requests at their gateways.

    `served`: the requests of each that ended; `places`: its best place in a queue. Who asks a
    gateway that was killed asks `other` from then on.
    """

    http: aiohttp.ClientSession
    """It costs a tenth of httpx2's client: a gateway serves few requests per second here, but the
    requests of users must come back immediately, also on a busy machine."""
    served: Counter[str] = field(default_factory=Counter)
    places: dict[str, int] = field(default_factory=dict)
    other: Gateway | None = None
    at: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Requests under way, by user and address of the gateway."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def join(
        self,
        name: str,
        key: str,
        gateway: Gateway,
        body: Callable[[], dict[str, Any]] = plain,
        *,
        leaves_after: int = 0,
        depth: int = 0,
    ) -> None:
        """`leaves_after`: events of a stream that the client reads before it goes away; `depth`:
        other than by weight."""
        depth = depth or DEPTH * WEIGHTS.get(name, 3)
        head = {"authorization": f"Bearer {key}"}

        async def ask(gateway: Gateway) -> Gateway:
            url = f"{gateway.url}/v1/chat/completions"
            sent = {"model": "echo", "stream": leaves_after > 0, **body()}
            self.at[name, gateway.url] += 1
            try:
                async with self.http.post(url, json=sent, headers=head) as answer:
                    events, line = 0, b""
                    async for line in answer.content:
                        events += line.startswith(b"data: {")
                        if events == leaves_after > 0:
                            break
                    assert answer.status == 200, line
            except aiohttp.ClientError:
                assert self.other is not None
                return self.other
            finally:
                self.at[name, gateway.url] -= 1
            place = answer.headers.get("x-queue-position")
            if place is not None:
                self.places[name] = min(int(place), self.places.get(name, 10**9))
            self.served[name] += 1
            return gateway

        async def ask_always() -> None:
            at = gateway
            while True:
                at = await ask(at)

        self._tasks += [asyncio.create_task(ask_always()) for _ in range(depth)]

    async def wait_full(self, cluster: "Cluster", *gateways: Gateway) -> None:
        """Returns when all that everybody asks of these gateways waits in their queues: who comes
        first would be served alone until then. Shares hold from then on."""

        def is_full() -> bool:
            asked = sum(self.at[name, one.url] for name in WEIGHTS for one in gateways)
            return asked >= len(self._tasks) and all(map(has_all, gateways))

        def has_all(gateway: Gateway) -> bool:
            flows = {flow["weight"]: flow["waiting"] for flow in cluster.queue(gateway)["flows"]}
            return all(
                flows.get(weight, 0) >= self.at[name, gateway.url] - 2 * SLOTS
                for name, weight in WEIGHTS.items()
            )

        while not await asyncio.to_thread(is_full):
            self._check()
            await asyncio.sleep(0.1)
        # until then some were served more than their share, and now the others are
        await self.more(200)

    async def more(self, answers: int) -> Counter[str]:
        """The answers of each, when so many more have ended."""
        before = self.served.copy()
        while self.served.total() - before.total() < answers:
            self._check()
            await asyncio.sleep(0.02)
        return self.served - before

    def _check(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()

    def leave(self) -> None:
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def crowded() -> AsyncIterator[Crowd]:
    # who has the smallest share waits for many seconds for those before its last request
    patient, any_number = aiohttp.ClientTimeout(total=None), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=patient, connector=any_number) as http:
        crowd = Crowd(http)
        try:
            yield crowd
        finally:
            crowd.leave()
            await asyncio.gather(*crowd._tasks, return_exceptions=True)


def check(served: Counter[str], weights: dict[str, int] = WEIGHTS) -> None:
    """Shares within 2 percentage points, and Jain's index."""
    whole = sum(weights.values())
    for name, weight in weights.items():
        assert abs(100 * served[name] / served.total() - 100 * weight / whole) <= 2, served
    each = [served[name] / weight for name, weight in weights.items()]
    assert sum(each) ** 2 / (len(each) * sum(x * x for x in each)) >= 0.99, served


@dataclass(frozen=True)
class Cluster:
    one: Gateway
    two: Gateway
    location: Location
    keys: dict[str, str]
    names: dict[str, str]
    """By user id."""

    def queue(self, gateway: Gateway, path: str = "") -> dict[str, Any]:
        head = {"authorization": f"Bearer {self.keys['admin']}"}
        answer = httpx2.get(f"{gateway.url}/admin/queue{path}", headers=head, timeout=30)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def is_empty(self, gateway: Gateway) -> bool:
        shown = self.queue(gateway)
        return not any(shown[name] for name in ("flows", "running", "waiting", "waiting_bytes"))

    def wait_empty(self, *gateways: Gateway) -> None:
        """Those who were cancelled leave nothing behind."""
        wait_for(lambda: all(map(self.is_empty, gateways)), what="empty queues")


@pytest.fixture(scope="module")
def second_triton(
    echo_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EchoTriton]:
    """A server to be killed by the last test."""
    with running_echo(echo_repository, tmp_path_factory.mktemp("second") / "triton.log") as server:
        yield server


@pytest.fixture(scope="module")
def cluster(
    echo_triton: EchoTriton,
    second_triton: EchoTriton,
    databases: Databases,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    """Two gateway processes and two Tritons."""
    location, folder = databases.postgres(), tmp_path_factory.mktemp("sharing")
    keys, names = asyncio.run(_users(location))
    both = {"one": echo_triton, "two": second_triton}
    entries = [{"name": name, "url": each.grpc_address} for name, each in both.items()]
    (folder / "upstreams.json").write_text(json.dumps({"upstreams": entries}))
    url = location.url.set(drivername="postgresql").render_as_string(hide_password=False)
    flags = ["--require-keys", "--database-url", url, "--redis-url", redis_server.url]
    flags += ["--upstreams", str(folder / "upstreams.json"), "--max-running", str(SLOTS)]
    flags += ["--max-waiting-per-user", "400", "--default-tokens-per-month", "0"]
    flags += ["--share-interval-s", "0.2", "--data-directory", str(folder / "data")]
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(run_gateway("unix:/unused", folder / name, *flags))
            for name in ("one.log", "two.log")
        )
        yield Cluster(one, two, location, keys, names)


async def _users(location: Location) -> tuple[dict[str, str], dict[str, str]]:
    """Keys by role and names by id; two more students to come late."""
    database = Database(location)
    directory = await opened(database)
    keys, names = {}, {}
    for name in (*WEIGHTS, "early", "late"):
        role = name if name in WEIGHTS else "student"
        user, keys[name] = await add(directory, f"sharing-{name}", role)
        names[user.id] = name
        # so that every request asks Redis
        await add_quota(database, "requests", "minute", 1_000_000, scope_id=user.id)
    await database.close()
    return keys, names


async def test_weights_on_one_gateway(cluster: Cluster) -> None:
    gateway, keys = cluster.one, cluster.keys
    started = gateway.log.read_text()
    assert "fair share is on: weighted deficit round robin" in started
    assert "admin 10, faculty 3, staff 2, student 1" in started
    assert "window: 8 rounds of 10 tokens" in started
    async with crowded() as crowd:
        for name in WEIGHTS:
            crowd.join(name, keys[name], gateway)
        await crowd.wait_full(cluster, gateway)
        before = crowd.served.copy()
        await crowd.more(300)
        shown = await asyncio.to_thread(cluster.queue, gateway)
        await crowd.more(300)
        # with the answers that came while the queue was read
        served = crowd.served - before
    check(served)
    flows = {flow["weight"]: flow for flow in shown["flows"]}
    assert [*sorted(flows)] == [1, 2, 3, 10]
    assert shown["jain"] >= 0.95
    assert all(flow["waiting"] and flow["position"] >= 1 for flow in flows.values())
    assert flows[1]["share"] == 0.0625
    cluster.wait_empty(gateway)
    made = cluster.queue(gateway, "/decisions?limit=200")["data"]
    assert len(made) == 200
    ended = [one for one in made if one["actual"]]
    assert ended
    for one in ended:
        assert one["deficit_before"] - one["deficit_after"] == one["estimate"]
        assert one["model"] == "echo"
        assert one["upstream"] in ("one", "two")
        terms = one["candidates"][one["upstream"]]
        assert terms.pop("total") == pytest.approx(sum(terms.values()), abs=0.1)
        assert {*terms} >= {"residency", "affinity", "utilization", "queue", "latency", "priority"}
    assert any(len(one["candidates"]) == 2 for one in ended)
    only = cluster.queue(gateway, f"/decisions?user_id={made[0]['user_id']}")["data"]
    assert {one["user_id"] for one in only} == {made[0]["user_id"]}
    head = {"authorization": f"Bearer {keys['student']}"}
    assert httpx2.get(f"{gateway.url}/admin/queue", headers=head).status_code == 403


async def test_weights_over_two_gateways_with_no_empty_slot(cluster: Cluster) -> None:
    keys, (one, two) = cluster.keys, (cluster.one, cluster.two)
    busy = []
    async with crowded() as crowd:
        for name, gateways in (
            ("student", (one, two)), ("staff", (one,)), ("faculty", (two,)), ("admin", (one, two)),
        ):  # fmt: skip
            for gateway in gateways:
                crowd.join(name, keys[name], gateway)
        await crowd.wait_full(cluster, one, two)
        before = crowd.served.copy()
        for _ in range(8):
            await crowd.more(150)
            for gateway in (one, two):
                shown = await asyncio.to_thread(cluster.queue, gateway)
                assert shown["waiting"]
                busy.append(shown["running"])
        served = crowd.served - before
    check(served)
    assert sum(busy) >= 0.95 * SLOTS * len(busy)
    cluster.wait_empty(one, two)


async def test_shares_are_of_tokens_whatever_users_do(cluster: Cluster) -> None:
    """One sends ten times longer requests, one declares 400 times too much, one leaves at 90 %."""
    keys, (one, two) = cluster.keys, (cluster.one, cluster.two)

    def said(**fields: Any) -> Callable[[], dict[str, Any]]:
        return lambda: {"messages": script(**fields)}

    asks: list[tuple[str, Gateway, Callable[[], dict[str, Any]], int]] = [
        *(("admin", each, said(chunks=40, first_delay_ms=40), 0) for each in (one, two)),
        ("faculty", two, lambda: {**said(chunks=10, first_delay_ms=40)(), "max_tokens": 4000}, 0),
        ("staff", one, said(chunks=20, delay_ms=2), 18),
        *(("student", each, said(chunks=2, first_delay_ms=40), 0) for each in (one, two)),
    ]
    async with crowded() as crowd:
        for name, gateway, body, leaves_after in asks:
            # who sends short requests has many more answers than its weight says
            crowd.join(name, keys[name], gateway, body, leaves_after=leaves_after, depth=96)
        await crowd.wait_full(cluster, one, two)
        begun_us = time.time_ns() // 1000
        await crowd.more(1200)
        ended_us = time.time_ns() // 1000
    cluster.wait_empty(one, two)
    costs, weights = Counter[str](), CostWeights()
    for row in await _written(cluster, crowd.served):
        if begun_us <= row.started_at_us + row.duration_us <= ended_us:
            used = Usage(row.prompt_tokens, row.cached_tokens, row.completion_tokens)
            costs[cluster.names[row.user_id]] += weights.of(used)
            # what was sent until the client went away is charged
            assert cluster.names[row.user_id] != "staff" or row.completion_tokens >= 17
    check(costs)


async def _written(cluster: Cluster, served: Counter[str]) -> list[Any]:
    """The rows of usage, when those of all answers are there."""
    database = Database(cluster.location)
    while True:
        rows = await rows_of(database, usage)
        if len(rows) >= served.total():
            break
        await asyncio.sleep(0.1)
    await database.close()
    return rows


async def test_late_joiner(cluster: Cluster) -> None:
    keys, (one, two) = cluster.keys, (cluster.one, cluster.two)
    async with crowded() as crowd:
        for gateway in (one, two):
            crowd.join("early", keys["early"], gateway)
        alone = await crowd.more(200)
        assert [*alone] == ["early"]
        for gateway in (one, two):
            crowd.join("late", keys["late"], gateway)
        while "late" not in crowd.places:
            await crowd.more(5)
        # of two users it is the next or the one after, however many requests of the other wait
        assert crowd.places["late"] <= 2
        served = await crowd.more(500)
    check(served, {"early": 1, "late": 1})
    cluster.wait_empty(one, two)


async def test_parts_are_killed_and_shares_hold_again(
    cluster: Cluster, redis_server: RedisServer, second_triton: EchoTriton
) -> None:
    """Redis, then a Triton, then a gateway: no request fails but those of the killed gateway."""
    keys, (one, two) = cluster.keys, (cluster.one, cluster.two)
    async with crowded() as crowd:
        crowd.other = one
        for name in WEIGHTS:
            for gateway in (one, two):
                crowd.join(name, keys[name], gateway)
        await crowd.wait_full(cluster, one, two)
        try:
            await asyncio.to_thread(redis_server.kill)
            without_redis = await crowd.more(400)
        finally:
            await asyncio.to_thread(redis_server.start)
        check(without_redis)
        await asyncio.to_thread(second_triton.kill)
        check(await crowd.more(400))
        two.process.kill()
        await crowd.wait_full(cluster, one)
        check(await crowd.more(400))
    cluster.wait_empty(one)


def test_who_waits_hears_of_the_place_in_the_queue(echo_triton: EchoTriton, tmp_path: Path) -> None:
    flags = ("--max-running", "1", "--heartbeat-s", "0.05")
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway:
        slow = {"model": "echo", "messages": script(text="a b c", delay_ms=300), "stream": True}
        quick = {"model": "echo", "messages": script(text="next"), "stream": True}
        with httpx2.stream("POST", f"{gateway.url}/v1/chat/completions", json=slow) as runs:
            pieces = runs.iter_text()
            assert next(pieces)
            answer = httpx2.post(f"{gateway.url}/v1/chat/completions", json=quick, timeout=30)
        assert answer.headers["x-queue-position"] == "1"
        assert answer.text.startswith(": waiting; position 1 in the queue, about ")
        assert answer.text.endswith("data: [DONE]\n\n")
        with httpx2.stream("POST", f"{gateway.url}/v1/chat/completions", json=slow) as runs:
            pieces = runs.iter_text()
            assert next(pieces)
            body = {"model": "echo", "max_tokens": 9, "stream": True}
            body["messages"] = [{"role": "user", "content": json.dumps({"text": "next"})}]
            message = httpx2.post(f"{gateway.url}/v1/messages", json=body, timeout=30)
        assert (
            'event: ping\ndata: {"type": "ping"}\n\n' in message.text.partition("message_start")[0]
        )
        assert (
            httpx2.post(f"{gateway.url}/v1/chat/completions", json=quick).headers.get(
                "x-queue-position"
            )
            is None
        )
