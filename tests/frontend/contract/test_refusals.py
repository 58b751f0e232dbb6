"""A full queue, the queue's time and missing upstreams, in every dialect: status, body, header and
metric say which of them it was."""

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_metrics

from frontend.store.database import Database
from frontend.store.location import Location
from tests.frontend.contract.conftest import posted
from tests.support.accounts import add, opened
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import wait_for

PATHS = {
    "openai": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "ollama": "/api/chat",
    "generate": "/api/generate",
}


def slow(**fields: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": script(text="x", first_delay_ms=100_000), **fields}


@dataclass
class Front:
    """A gateway with one slot, and its users' keys."""

    gateway: Gateway
    keys: dict[str, str]

    def ask(self, dialect: str, user: str) -> httpx2.Response:
        text = json.dumps({"text": "x", "first_delay_ms": 100_000})
        body: dict[str, Any] = {"model": "echo", "max_tokens": 9, "stream": False}
        if dialect in ("completions", "generate"):
            body["prompt"] = text
        elif dialect == "responses":
            body = {"model": "echo", "input": text}
        else:
            body["messages"] = [{"role": "user", "content": text}]
        if dialect in ("ollama", "generate"):
            del body["max_tokens"]
        url, head = self.gateway.url + PATHS[dialect], f"Bearer {self.keys[user]}"
        return httpx2.post(url, json=body, headers={"authorization": head}, timeout=120)

    def queue(self) -> tuple[int, int]:
        head = {"authorization": f"Bearer {self.keys['chief']}"}
        shown = httpx2.get(f"{self.gateway.url}/admin/queue", headers=head, timeout=60).json()
        return shown["running"], shown["waiting"]

    def refusals(self, reason: str) -> float:
        head = {"authorization": f"Bearer {self.keys['chief']}"}
        text = httpx2.get(f"{self.gateway.url}/admin/metrics", headers=head, timeout=60).text
        samples = (one for family in parse_metrics(text) for one in family.samples)
        name = "gateway_refusals_total"
        return sum(o.value for o in samples if o.name == name and o.labels["reason"] == reason)


@pytest.fixture(scope="module")
def people(databases: Databases) -> tuple[Location, dict[str, str]]:
    location = databases.sqlite()
    return location, asyncio.run(_people(location))


async def _people(location: Location) -> dict[str, str]:
    database = Database(location)
    directory = await opened(database)
    roles = {"chief": "admin", "ada": "student", "bob": "student", "eve": "student"}
    keys = {name: (await add(directory, name, role))[1] for name, role in roles.items()}
    await database.close()
    return keys


@pytest.fixture
def front(
    people: tuple[Location, dict[str, str]], tmp_path: Path
) -> Iterator[Callable[..., Front]]:
    location, keys = people
    with ExitStack() as stack:

        def start(triton: str, *flags: str, wait_ready: bool = True) -> Front:
            stored = ("--require-keys", "--database-url", f"sqlite:///{location.file}")
            made = run_gateway(triton, tmp_path / "log", *stored, *flags, wait_ready=wait_ready)
            return Front(stack.enter_context(made), keys)

        yield start


def check(answer: httpx2.Response, dialect: str, status: int, code: str, text: str) -> None:
    """`status` and `code` as OpenAI's dialect has them."""
    body = answer.json()
    if dialect == "anthropic":
        status = 529 if code == "overloaded" else status
        kinds = {429: "rate_limit_error", 529: "overloaded_error", 504: "timeout_error"}
        assert body["error"]["type"] == kinds.get(status, "api_error")
        message = body["error"]["message"]
    elif dialect in ("ollama", "generate"):
        message = body["error"]
    else:
        assert body["error"]["code"] == code
        message = body["error"]["message"]
    assert answer.status_code == status, answer.text
    assert text in message
    assert answer.headers["x-error-code"] == code
    if status != 504:
        assert 1 <= int(answer.headers["retry-after"]) <= 120


def test_the_users_own_limit_and_that_of_all(
    front: Callable[..., Front], echo_triton: EchoTriton
) -> None:
    flags = ("--max-running", "1", "--max-waiting-per-user", "1", "--max-waiting", "2")
    one = front(echo_triton.grpc_address, *flags)
    with ExitStack() as stack:
        for user, queue in (("ada", (1, 0)), ("ada", (1, 1)), ("bob", (1, 2))):
            stack.enter_context(posted(one.gateway, slow(), one.keys[user]))
            wait_for(lambda queue=queue: one.queue() == queue, what=f"{queue}")  # type: ignore[misc]
        for dialect in PATHS:
            answer = one.ask(dialect, "ada")
            check(answer, dialect, 429, "queue_limit_exceeded", "1 of your requests are already")
        for dialect in PATHS:
            answer = one.ask(dialect, "eve")
            check(answer, dialect, 503, "overloaded", "2 requests are already waiting")
        assert one.queue() == (1, 2)
        for reason in ("queue_limit_exceeded", "overloaded"):
            assert one.refusals(reason) == len(PATHS)


def test_no_upstream(front: Callable[..., Front]) -> None:
    one = front("127.0.0.1:9", wait_ready=False)
    for dialect in PATHS:
        answer = one.ask(dialect, "ada")
        check(answer, dialect, 503, "backend_unavailable", "the model server is not available now")
    assert one.refusals("backend_unavailable") == len(PATHS)


def test_the_time_in_the_queue(front: Callable[..., Front], echo_triton: EchoTriton) -> None:
    """Those who wait see their time end while another user's request, which began later and comes
    before theirs, has the slot."""
    one = front(echo_triton.grpc_address, "--max-running", "1", "--request-timeout-s", "15")
    with ExitStack() as stack, ThreadPoolExecutor(len(PATHS)) as pool:
        # it declares so much that every request of another user comes before the next of ada's
        stack.enter_context(posted(one.gateway, slow(max_tokens=4000), one.keys["ada"]))
        wait_for(lambda: one.queue() == (1, 0), what="one that runs")
        asked = {dialect: pool.submit(one.ask, dialect, "ada") for dialect in PATHS}
        wait_for(lambda: one.queue() == (1, len(PATHS)), what="those that wait")
        # its time ends after theirs
        stack.enter_context(posted(one.gateway, slow(max_tokens=1), one.keys["bob"]))
        for dialect, answer in asked.items():
            text = "while it waited for a slot"
            check(answer.result(), dialect, 504, "queue_timeout", text)
    assert one.refusals("queue_timeout") == len(PATHS)
