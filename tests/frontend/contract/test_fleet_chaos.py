"""Registered upstreams that are killed, drained, slow, broken and lying under load.

No request without a first byte fails, and what answers say that they used is what was charged.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from frontend.store.database import Database
from frontend.store.location import Location
from frontend.upstreams.remote import UNREADABLE
from tests.support.accounts import add, opened
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, script
from tests.support.forward import forwarded
from tests.support.gateway import Gateway, run_gateway
from tests.support.lying import FAULTS, lying_server
from tests.support.processes import wait_for

_WORKERS = 8


@dataclass
class Load:
    """What the clients saw."""

    whole: int = 0
    streamed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failed: list[str] = field(default_factory=list)
    """Answers that failed before their first byte."""
    broken: int = 0
    """Streams that ended with an error after it, which is allowed."""
    ends: bool = False
    more: dict[str, Any] = field(default_factory=dict)
    """Fields of each request."""
    most: int = 0
    """The largest count of an answer's tokens."""

    @property
    def answers(self) -> int:
        return self.whole + self.streamed


async def work(load: Load, http: httpx2.AsyncClient, number: int) -> None:
    """Asks until the load ends, in turns for whole answers and for streams."""
    while not load.ends:
        number += _WORKERS + 1
        # equal prompts would all go where the first one went
        given = script(text=f"{number} whole", first_delay_ms=30, delay_ms=5)
        body: dict[str, Any] = {"model": "echo", "messages": given, **load.more}
        if number % 2:
            answer = await http.post("/v1/chat/completions", json=body)
            if answer.status_code != 200:
                load.failed.append(answer.text)
                continue
            load.whole += 1
            _add(load, answer.json()["usage"])
        else:
            await _stream(load, http, {**body, "stream": True})


async def _stream(load: Load, http: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    body["stream_options"] = {"include_usage": True}
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        if answer.status_code != 200:
            load.failed.append((await answer.aread()).decode())
            return
        lines = [line[6:] async for line in answer.aiter_lines() if line.startswith("data: {")]
    chunks = [json.loads(line) for line in lines]
    if any("error" in one for one in chunks):
        has_text = any(c["delta"].get("content") for one in chunks for c in one.get("choices", ()))
        if has_text:
            load.broken += 1
        else:
            load.failed.append(lines[-1])
        return
    load.streamed += 1
    _add(load, chunks[-1]["usage"])


def _add(load: Load, usage: dict[str, int]) -> None:
    load.prompt_tokens += usage["prompt_tokens"]
    load.completion_tokens += usage["completion_tokens"]
    load.most = max(load.most, usage["completion_tokens"])
    assert usage["prompt_tokens"] > 0 < usage["completion_tokens"]


@asynccontextmanager
async def loading(gateway: Gateway, key: str, **more: Any) -> AsyncIterator[Load]:
    """The block runs under load; at its end every request has its answer."""
    load, headers = Load(more=more), {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, timeout=60) as http:
        tasks = [asyncio.create_task(work(load, http, number)) for number in range(_WORKERS)]
        try:
            yield load
        finally:
            load.ends = True
            await asyncio.gather(*tasks)


@dataclass
class Accounts:
    location: Location
    admin: str
    user: str


@pytest.fixture
def accounts(databases: Databases) -> Accounts:
    location = databases.sqlite()

    async def make() -> Accounts:
        database = Database(location)
        directory = await opened(database)
        _, admin = await add(directory, "chaos-chief", "admin")
        _, user = await add(directory, "chaos-user")
        await database.close()
        return Accounts(location, admin, user)

    return asyncio.run(make())


@pytest.fixture
def tritons(echo_triton: EchoTriton, mortal_triton: EchoTriton) -> Iterator[tuple[str, str]]:
    with (
        forwarded(echo_triton.grpc_address) as stays,
        forwarded(mortal_triton.grpc_address) as dies,
    ):
        yield stays, dies


async def reached(condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(wait_for, condition, what=what)


async def test_nothing_is_lost_or_charged_twice_whatever_happens_to_upstreams(
    accounts: Accounts, tritons: tuple[str, str], mortal_triton: EchoTriton, tmp_path: Path
) -> None:
    file = accounts.location.file
    flags = ["--require-keys", "--database-url", f"sqlite:///{file}"]
    flags += ["--backend-networks", "127.0.0.0/8"]
    with (
        lying_server() as liar,
        run_gateway("127.0.0.1:9", tmp_path / "log", *flags, wait_ready=False) as gateway,
        httpx2.Client(
            base_url=gateway.url, headers={"authorization": f"Bearer {accounts.admin}"}, timeout=60
        ) as admin,
    ):

        def find(name: str) -> dict[str, Any]:
            shown: dict[str, Any] = admin.get(f"/admin/backends/{name}").json()
            return shown

        def is_ready(name: str) -> bool:
            return bool(find(name)["status"] == "ready")

        urls = {"stays": (tritons[0], "triton"), "dies": (tritons[1], "triton")}
        for name, (url, engine) in {**urls, "lies": (liar.url, "vllm")}.items():
            body = {"name": name, "url": url, "engine": engine, "max_concurrent": 8}
            body["priority"] = 3 if name == "dies" else 0
            assert admin.post("/admin/backends/register", json=body).status_code == 201
            await reached(lambda name=name: is_ready(name), name)  # type: ignore[misc]
        async with loading(gateway, accounts.user) as load:

            async def answered(more: int) -> None:
                until = load.answers + more
                while load.answers < until:
                    assert load.failed == []
                    await asyncio.sleep(0.05)

            await answered(30)
            await reached(lambda: find("dies")["running"] > 0, "a request at the one that dies")
            await asyncio.to_thread(mortal_triton.kill)
            await answered(30)
            # it says that it is idle, and is slow: it does not get everything
            before, liar.delay_s = liar.answers, 0.5
            await answered(40)
            assert liar.answers - before < 40
            liar.delay_s, liar.fails = 0.0, True
            await reached(lambda: bool(find("lies")["breakers"]), "an open breaker")
            assert admin.post("/admin/backends/stays/refresh").status_code == 200
            await answered(10)
            liar.fails = False
            await reached(lambda: find("lies")["breakers"] == {}, "a closed breaker")
            assert admin.post("/admin/backends/stays/drain").status_code == 200
            await reached(lambda: find("stays")["running"] == 0, "the end of a drain")
            await answered(30)
            assert admin.post("/admin/backends/stays/enable").status_code == 200
            await answered(10)
        assert load.failed == []
        _check_ledger(file, load)


async def test_a_mixed_fleet_that_lies_in_every_way_loses_and_invents_no_token(
    accounts: Accounts, echo_triton: EchoTriton, tmp_path: Path
) -> None:
    """Of each dialect one server sends wrong counts, malformed and broken answers, and too much."""
    file = accounts.location.file
    flags = ["--require-keys", "--database-url", f"sqlite:///{file}"]
    flags += ["--backend-networks", "127.0.0.0/8"]
    engines = {"vllm": "openai", "ollama": "ollama", "anthropic": "anthropic"}
    with (
        ExitStack() as stack,
        run_gateway("127.0.0.1:9", tmp_path / "log", *flags, wait_ready=False) as gateway,
        httpx2.Client(
            base_url=gateway.url, headers={"authorization": f"Bearer {accounts.admin}"}, timeout=60
        ) as admin,
    ):
        liars = {
            engine: stack.enter_context(lying_server(dialect))
            for engine, dialect in engines.items()
        }
        urls = {engine: one.url for engine, one in liars.items()}
        urls["triton"] = stack.enter_context(forwarded(echo_triton.grpc_address))
        for engine, url in urls.items():
            body = {"name": f"one-{engine}", "url": url, "engine": engine, "max_concurrent": 2}
            assert admin.post("/admin/backends/register", json=body).status_code == 201

        def are_ready() -> bool:
            shown = [admin.get(f"/admin/backends/one-{name}").json() for name in urls]
            return all(one["status"] == "ready" for one in shown)

        def all_had(field: str, value: str) -> Callable[[], bool]:
            """Whether each liar had it at some time since this was called, not at one moment:
            an answer that is cut makes its upstream unreachable until the next poll."""
            left = set(liars)

            def check() -> bool:
                for name in [*left]:
                    if admin.get(f"/admin/backends/one-{name}").json()[field] == value:
                        left.remove(name)
                return not left

            return check

        await reached(are_ready, "four upstreams")
        async with loading(gateway, accounts.user, max_tokens=20) as load:
            for liar in liars.values():
                liar.faults = FAULTS
            while not all(liar.sent[fault] > 1 for liar in liars.values() for fault in FAULTS):
                assert load.failed == []
                await asyncio.sleep(0.05)
            # lies about models do not end the polls, and others continue to serve them
            for liar in liars.values():
                liar.lists = '{"data": [5], "models": [5]}'
            await reached(all_had("error", UNREADABLE), "lists that cannot be read")
            for liar in liars.values():
                liar.lists = None
            await reached(all_had("status", "ready"), "lists that can be read")
        assert load.failed == []
        # an answer without an end has no more than was asked for
        assert load.most == 20
        _check_ledger(file, load)


def _check_ledger(file: Path | None, load: Load) -> None:
    """The rows of whole answers are the clients' own counts, each once."""
    assert file is not None

    def rows() -> list[tuple[int, int, int]]:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
            query = "SELECT status, prompt_tokens, completion_tokens FROM usage"
            found: list[tuple[int, int, int]] = connection.execute(query).fetchall()
        return found

    wait_for(lambda: len(rows()) >= load.answers + load.broken, what="the last row")
    good = [row for row in rows() if row[0] == 200]
    assert len(rows()) == load.answers + load.broken
    assert len(good) == load.answers
    assert sum(row[1] for row in good) == load.prompt_tokens
    assert sum(row[2] for row in good) == load.completion_tokens
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        query = "SELECT sum(requests), sum(completion_tokens) FROM usage_hourly"
        hourly = connection.execute(query).fetchone()
    assert hourly == (len(rows()), sum(row[2] for row in rows()))
    pairs = """SELECT count(*), sum(u.prompt_tokens = a.prompt_tokens
        AND u.completion_tokens = a.completion_tokens AND u.status = a.status)
        FROM usage u JOIN audit_records a USING (request_id)"""

    def audited() -> tuple[int, int]:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
            found: tuple[int, int] = connection.execute(pairs).fetchone()
            return found

    wait_for(lambda: audited() == (len(rows()), len(rows())), what="a record of each row")
