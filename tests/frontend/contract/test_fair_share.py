"""Fair share on live gateways: who waits gets its part, on one process and over two."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from frontend.store.database import Database
from frontend.store.location import Location
from tests.support.accounts import add, opened
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import wait_for

pytestmark = pytest.mark.timeout(120)
WEIGHTS = {"student": 1, "staff": 2, "faculty": 3, "admin": 10}
SLOTS = 4
TEXT = "one two three four"


@dataclass
class Crowd:
    """Users who keep `depth` requests in the queue of each of their gateways, until `whole` ended.

    `served`: the requests of each that ended while all of them waited.
    """

    depth: int
    whole: int
    served: dict[str, int] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, callers: list[tuple[str, str, Gateway]]) -> None:
        """(name, key, gateway) of each that asks."""
        self.served = dict.fromkeys([name for name, _, _ in callers], 0)
        async with httpx2.AsyncClient(timeout=60, limits=httpx2.Limits()) as http:
            asking = [
                asyncio.create_task(self._ask(http, *caller))
                for caller in callers
                for _ in range(self.depth)
            ]
            await self.over.wait()
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def _ask(self, http: httpx2.AsyncClient, name: str, key: str, gateway: Gateway) -> None:
        body = {"model": "echo", "messages": script(text=TEXT, first_delay_ms=40)}
        head = {"authorization": f"Bearer {key}"}
        while not self.over.is_set():
            url = f"{gateway.url}/v1/chat/completions"
            answer = await http.post(url, json=body, headers=head)
            assert answer.status_code == 200, answer.text
            self.served[name] += 1
            if sum(self.served.values()) >= self.whole:
                self.over.set()

    def check(self) -> None:
        """Shares within 2 percentage points, and Jain's index."""
        ended, weights = sum(self.served.values()), sum(WEIGHTS[name] for name in self.served)
        for name, count in self.served.items():
            assert abs(100 * count / ended - 100 * WEIGHTS[name] / weights) <= 2, self.served
        each = [count / WEIGHTS[name] for name, count in self.served.items()]
        assert sum(each) ** 2 / (len(each) * sum(x * x for x in each)) >= 0.99


@pytest.fixture(scope="module")
def staffed(databases: Databases) -> tuple[Location, dict[str, str]]:
    """A database with a user of each role, and their keys by role."""
    location = databases.sqlite()
    return location, asyncio.run(_keys(location))


async def _keys(location: Location) -> dict[str, str]:
    database = Database(location)
    directory = await opened(database)
    keys = {role: (await add(directory, f"sharing-{role}", role))[1] for role in WEIGHTS}
    await database.close()
    return keys


@pytest.fixture(scope="module")
def pair(
    echo_triton: EchoTriton,
    staffed: tuple[Location, dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Gateway, Gateway]]:
    """Two gateway processes on one database."""
    flags = ["--require-keys", "--database-url", f"sqlite:///{staffed[0].file}"]
    flags += ["--max-running", str(SLOTS), "--default-tokens-per-month", "0"]
    flags += ["--share-interval-s", "0.2"]
    folder = tmp_path_factory.mktemp("sharing")
    with ExitStack() as stack:
        triton = echo_triton.grpc_address
        one, two = (
            stack.enter_context(run_gateway(triton, folder / name, *flags))
            for name in ("one", "two")
        )
        yield one, two


def ask_queue(gateway: Gateway, key: str, path: str = "") -> dict[str, Any]:
    head = {"authorization": f"Bearer {key}"}
    answer = httpx2.get(f"{gateway.url}/admin/queue{path}", headers=head, timeout=30)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def is_empty(gateway: Gateway, key: str) -> bool:
    shown = ask_queue(gateway, key)
    return not (shown["flows"] or shown["running"] or shown["waiting"] or shown["waiting_bytes"])


def test_users_have_their_shares_and_nothing_is_left(
    pair: tuple[Gateway, Gateway], staffed: tuple[Location, dict[str, str]]
) -> None:
    keys, gateway = staffed[1], pair[0]
    started = gateway.log.read_text()
    assert "fair share is on: weighted deficit round robin" in started
    assert "admin 10, faculty 3, staff 2, student 1" in started
    assert "window: 8 rounds of 10 tokens" in started
    crowd = Crowd(depth=24, whole=600)
    seen: list[dict[str, Any]] = []

    async def watch() -> None:
        while sum(crowd.served.values()) < 300:
            await asyncio.wait({asyncio.create_task(crowd.over.wait())}, timeout=0.1)
        seen.append(await asyncio.to_thread(ask_queue, gateway, keys["admin"]))

    async def run() -> None:
        watcher = asyncio.create_task(watch())
        await crowd.run([(role, key, gateway) for role, key in keys.items()])
        await watcher

    asyncio.run(run())
    crowd.check()
    (shown,) = seen
    assert (shown["slots"], shown["running"]) == (SLOTS, SLOTS)  # no slot idles
    flows = {flow["weight"]: flow for flow in shown["flows"]}
    assert [*sorted(flows)] == [1, 2, 3, 10]
    assert shown["jain"] >= 0.95
    assert all(flow["waiting"] and flow["position"] >= 1 for flow in flows.values())
    assert flows[1]["share"] == 0.0625
    # those who were cancelled at the end leave nothing behind
    wait_for(lambda: is_empty(gateway, keys["admin"]), 20, "an empty queue")
    made = ask_queue(gateway, keys["admin"], "/decisions?limit=200")["data"]
    assert len(made) == 200
    ended = [one for one in made if one["actual"]]
    assert ended
    for one in ended:
        assert one["deficit_before"] - one["deficit_after"] == one["estimate"]
        assert one["model"] == "echo"
        assert one["upstream"] == "triton"
    only = ask_queue(gateway, keys["admin"], f"/decisions?user_id={made[0]['user_id']}")["data"]
    assert {one["user_id"] for one in only} == {made[0]["user_id"]}
    head = {"authorization": f"Bearer {keys['student']}"}
    assert httpx2.get(f"{gateway.url}/admin/queue", headers=head).status_code == 403


def test_shares_hold_over_two_processes(
    pair: tuple[Gateway, Gateway], staffed: tuple[Location, dict[str, str]]
) -> None:
    keys, (one, two) = staffed[1], pair
    crowd = Crowd(depth=24, whole=1600)
    callers = [(role, keys[role], one) for role in ("student", "staff", "admin")]
    callers += [(role, keys[role], two) for role in ("student", "faculty", "admin")]
    asyncio.run(crowd.run(callers))
    crowd.check()
    wait_for(lambda: all(is_empty(each, keys["admin"]) for each in pair), 20, "empty queues")


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
