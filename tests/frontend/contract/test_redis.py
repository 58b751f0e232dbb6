"""Two gateway processes on one database and one Redis: limits, changes, and a Redis that fails."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import pytest

from frontend.store.database import Database
from tests.support.accounts import add, opened
from tests.support.bank import Bank
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, script
from tests.support.gateway import run_gateway
from tests.support.processes import wait_for
from tests.support.redis import RedisServer


@dataclass
class Pair:
    """The same accounts at both gateways."""

    one: Bank
    two: Bank
    redis: RedisServer

    def clients(self, key: str) -> tuple[httpx2.AsyncClient, httpx2.AsyncClient]:
        headers = {"authorization": f"Bearer {key}"}
        limits = httpx2.Limits(max_connections=100)
        one, two = (
            httpx2.AsyncClient(
                base_url=bank.gateway.url, headers=headers, timeout=60, limits=limits
            )
            for bank in (self.one, self.two)
        )
        return one, two

    def logs(self) -> list[str]:
        return [bank.gateway.log.read_text() for bank in (self.one, self.two)]


@pytest.fixture(scope="module")
def pair(
    echo_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    redis = RedisServer(tmp_path_factory.mktemp("r"), password="hunter2")
    redis.start()
    location, folder = databases.sqlite(), tmp_path_factory.mktemp("pair")

    async def staffed() -> str:
        database = Database(location)
        _, key = await add(await opened(database), "chief", "admin")
        await database.close()
        return key

    admin = asyncio.run(staffed())
    flags = ["--require-keys", "--database-url", f"sqlite:///{location.file}"]
    # N for the time without Redis, before the first sweep of the second has counted both
    flags += ["--redis-url", redis.url, "--redis-gateways", "2"]
    triton = echo_triton.grpc_address
    with (
        run_gateway(triton, folder / "one", *flags) as one,
        run_gateway(triton, folder / "two", *flags) as two,
    ):
        bank = Bank(one, location, admin)
        yield Pair(bank, replace(bank, gateway=two), redis)
    redis.stop()


def streamed(chunks: int) -> dict[str, Any]:
    """It ends only when its client leaves."""
    messages = script(chunks=chunks, delay_ms=20, never_finish=True)
    body = {"model": "echo", "messages": messages, "stream": True}
    return body | {"max_tokens": chunks}


def test_running_requests_are_counted_over_both(pair: Pair) -> None:
    _, key = pair.one.user("slots", tokens_month=1_000_000, concurrency_none=3)

    async def hold() -> None:
        one, two = pair.clients(key)
        async with one, two, contextlib.AsyncExitStack() as stack:
            for client in (one, two, one):
                stream = client.stream("POST", "/v1/chat/completions", json=streamed(100))
                answer = await stack.enter_async_context(stream)
                assert answer.status_code == 200
            for client in (one, two):
                answer = await client.post("/v1/chat/completions", json=streamed(1))
                assert answer.status_code == 429
                assert "may have 3 requests running at a time" in answer.text

    asyncio.run(hold())
    assert pair.two.settled(key, "concurrency") == 0
    assert pair.one.chat(key, max_tokens=1).status_code == 200


def test_30_streams_that_are_aborted_leave_no_slot(pair: Pair) -> None:
    user, key = pair.one.user("gone", tokens_month=1_000_000, concurrency_none=30)

    async def read(client: httpx2.AsyncClient) -> None:
        async with client.stream("POST", "/v1/chat/completions", json=streamed(400)) as answer:
            assert answer.status_code == 200
            await anext(answer.aiter_raw())

    async def abort() -> None:
        one, two = pair.clients(key)
        async with one, two:
            await asyncio.gather(*(read((one, two)[n % 2]) for n in range(30)))

    asyncio.run(abort())
    for bank in (pair.one, pair.two):
        assert bank.settled(key, "concurrency") == 0
    assert pair.redis.size(f"*running:user:{user}:*") == 0
    used = pair.one.settled(key)
    rows = "/me/usage?interval=total"

    def reported() -> int:
        totals = pair.two.ask("GET", rows, key).json()["totals"]
        return int(totals["prompt_tokens"] + totals["completion_tokens"])

    wait_for(lambda: reported() == used, what="the usage rows")


def test_64_requests_at_both_on_a_budget_of_1000_tokens(pair: Pair) -> None:
    _, key = pair.one.user("race", tokens_month=1000, requests_minute=64)

    async def ask(client: httpx2.AsyncClient) -> tuple[int, int]:
        body = {"model": "echo", "messages": script(chunks=40), "max_tokens": 40}
        answer = await client.post("/v1/chat/completions", json=body)
        return answer.status_code, answer.json().get("usage", {}).get("total_tokens", 0)

    async def race() -> list[tuple[int, int]]:
        one, two = pair.clients(key)
        async with one, two:
            return await asyncio.gather(*(ask((one, two)[n % 2]) for n in range(64)))

    answers = asyncio.run(race())
    assert {status for status, _ in answers} == {200, 429}
    assert pair.two.settled(key) == sum(tokens for _, tokens in answers) <= 1000


def test_a_reset_at_one_counts_at_the_other(pair: Pair) -> None:
    user, key = pair.one.user("reset", tokens_month=100_000, requests_minute=2, requests_day=100)
    assert pair.two.chat(key, max_tokens=1).status_code == 200
    assert pair.one.chat(key, max_tokens=1).status_code == 200
    refused = pair.two.chat(key, max_tokens=1)
    assert "2 requests per minute" in refused.text
    assert 0 < int(refused.headers["retry-after"]) <= 30
    quotas = pair.one.ask("GET", f"/admin/quotas?scope_id={user}").json()["data"]
    (minute,) = [one["id"] for one in quotas if one["period"] == "minute"]
    assert pair.one.ask("POST", f"/admin/quotas/{minute}/reset").status_code == 200
    again = pair.two.chat(key, max_tokens=1)
    assert again.status_code == 200
    assert again.headers["x-ratelimit-remaining-requests"] == "1"


def test_a_revoked_key_and_a_changed_quota_reach_the_other(pair: Pair) -> None:
    user, key = pair.one.user("changed", tokens_month=100_000, requests_minute=100)
    assert pair.two.chat(key, max_tokens=1).headers["x-ratelimit-limit-requests"] == "100"
    quotas = pair.one.ask("GET", f"/admin/quotas?scope_id={user}").json()["data"]
    (minute,) = [one["id"] for one in quotas if one["period"] == "minute"]
    pair.one.ask("PATCH", f"/admin/quotas/{minute}", body={"amount": 50})

    def limit() -> str:
        return pair.two.chat(key, max_tokens=1).headers["x-ratelimit-limit-requests"]

    wait_for(lambda: limit() == "50", what="the new quota")
    (made,) = pair.one.ask("GET", f"/admin/keys?user_id={user}").json()["data"]
    pair.one.ask("DELETE", f"/admin/keys/{made['id']}")
    wait_for(lambda: pair.two.chat(key).status_code == 401, what="the refusal")


def test_a_redis_that_is_killed_under_load_holds_nobody_up(pair: Pair) -> None:
    _, key = pair.one.user("outage", tokens_month=1_000_000, concurrency_none=200)

    async def ask(client: httpx2.AsyncClient) -> int:
        body = {"model": "echo", "messages": script(chunks=5), "max_tokens": 5}
        answer = await client.post("/v1/chat/completions", json=body)
        return answer.status_code

    async def load() -> list[int]:
        one, two = pair.clients(key)
        async with one, two:
            tasks = [asyncio.create_task(ask((one, two)[n % 2])) for n in range(60)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.to_thread(pair.redis.kill)
            # 200 divided by 2 is enough for all of them
            tasks += [asyncio.create_task(ask((one, two)[n % 2])) for n in range(60)]
            return await asyncio.gather(*tasks)

    assert set(asyncio.run(load())) == {200}
    wait_for(lambda: all("Redis is not available" in log for log in pair.logs()), what="the lines")
    assert pair.two.left(key, "concurrency")["left"] <= 100
    pair.redis.start()
    wait_for(
        lambda: all("count limits together again" in log for log in pair.logs()), what="the lines"
    )
    assert pair.one.chat(key, max_tokens=1).status_code == 200
    assert pair.two.settled(key, "concurrency") == 0
    for log in pair.logs():
        assert log.count("until it is, this gateway uses 1/2") == 1
        assert log.count("count limits together again") == 1
        assert "hunter2" not in log
        assert "Traceback" not in log
