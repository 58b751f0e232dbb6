"""Answers from the cache, lines of batches, requests that were sent twice, streams that were left
and refusals, together: the audit, the ledger and the metrics agree about each of them."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from frontend.store.database import Database
from frontend.store.location import Location
from frontend.store.tables import audit_records, usage
from tests.support.accounts import add, opened
from tests.support.databases import url_of
from tests.support.echo import EchoTriton, script
from tests.support.forward import forwarded
from tests.support.gateway import Gateway, run_gateway
from tests.support.ledgers import check_books, rows_of
from tests.support.lying import Liar, lying_server
from tests.support.metrics import samples_of, value_of
from tests.support.processes import PATIENCE_S, wait_for

CHAT = "/v1/chat/completions"
_TEXTS, _LINES, _CLIENTS, _ROUNDS = 6, 12, 6, 12


@dataclass
class Seen:
    """What clients got: statuses, and how many answers came from the cache."""

    statuses: Counter[int] = field(default_factory=Counter)
    cached: int = 0
    left: int = 0


async def _people(location: Location) -> tuple[str, str]:
    database = Database(location)
    directory = await opened(database)
    _, admin = await add(directory, "mixed-chief", "admin")
    _, user = await add(directory, "mixed-user")
    await database.close()
    return admin, user


def _register(gateway: Gateway, admin: str, triton: str, liar: Liar) -> None:
    headers = {"authorization": f"Bearer {admin}"}
    with httpx2.Client(base_url=gateway.url, headers=headers, timeout=60) as http:
        for name, url, engine in (("good", triton, "triton"), ("bad", liar.url, "vllm")):
            # the one that fails is asked first
            priority = 5 if name == "bad" else 0
            body = {"name": name, "url": url, "engine": engine, "priority": priority}
            assert http.post("/admin/backends/register", json=body).status_code == 201
            wait_for(
                lambda name=name: (  # type: ignore[misc]
                    http.get(f"/admin/backends/{name}").json()["status"] == "ready"
                ),
                what=name,
            )


async def _ask(http: httpx2.AsyncClient, number: int, seen: Seen) -> None:
    """One client: what repeats and what does not, what is left and what is wrong."""
    for turn in range(_ROUNDS):
        text = f"mixed {turn % _TEXTS}"
        body: dict[str, Any] = {"model": "echo", "messages": script(text=text), "max_tokens": 30}
        kind = (turn + number) % 4
        if kind == 0:
            body |= {"messages": script(chunks=300, delay_ms=5), "stream": True, "max_tokens": 300}
            async with http.stream("POST", CHAT, json=body) as answer:
                async for _ in answer.aiter_raw():
                    break
            seen.left += 1
        elif kind == 1:
            answer = await http.post(CHAT, json=body | {"temperature": 9})
        else:
            answer = await http.post(CHAT, json=body | {"temperature": 0, "stream": kind == 2})
            seen.cached += answer.headers["x-cache"] == "hit"
        seen.statuses[answer.status_code] += 1


async def _batch(http: httpx2.AsyncClient) -> dict[str, Any]:
    """A batch whose lines ask what the others ask, too; two of them are wrong."""
    lines = []
    for number in range(_LINES):
        messages = script(text=f"mixed {number % _TEXTS}")
        body = {"model": "echo", "messages": messages, "temperature": 0, "max_tokens": 30}
        body |= {"temperature": 9} if number > _LINES - 3 else {}
        lines.append({"custom_id": f"{number}", "method": "POST", "url": CHAT, "body": body})
    content = "\n".join(map(json.dumps, lines)).encode()
    sent = {"file": ("in.jsonl", content, "application/jsonl")}
    file = (await http.post("/v1/files", data={"purpose": "batch"}, files=sent)).json()
    asked = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
    made = (await http.post("/v1/batches", json=asked)).json()
    async with asyncio.timeout(120):
        while made["status"] not in ("completed", "failed"):
            await asyncio.sleep(0.1)
            made = (await http.get(f"/v1/batches/{made['id']}")).json()
    counted: dict[str, Any] = made["request_counts"]
    return counted


async def _all_at_once(gateway: Gateway, key: str, liar: Liar) -> tuple[Seen, dict[str, Any]]:
    seen, headers = Seen(), {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, timeout=60) as http:
        liar.fails = True
        batch, *_ = await asyncio.gather(
            _batch(http), *(_ask(http, number, seen) for number in range(_CLIENTS))
        )
    return seen, batch


async def _check(location: Location, gateway: Gateway, seen: Seen, lines: dict[str, Any]) -> None:
    """Raises AssertionError while something is not written yet."""
    database = Database(location)
    try:
        sums = await check_books(database)
        used = {row.request_id: row for row in await rows_of(database, usage)}
        audited = [row for row in await rows_of(database, audit_records) if row.route == CHAT]
    finally:
        await database.close()
    metrics = samples_of(httpx2.get(f"{gateway.url}/metrics", timeout=PATIENCE_S).text)
    # every request has one record: each line of the batch is one
    assert len(audited) == seen.statuses.total() + lines["total"]
    assert len({row.request_id for row in audited}) == len(audited)
    ran = {row.request_id: row for row in audited if row.ran}
    assert ran.keys() == used.keys()
    for request_id, record in ran.items():
        row = used[request_id]
        for name in ("user_id", "key_id", "model", "status", "prompt_tokens", "completion_tokens"):
            assert getattr(record, name) == getattr(row, name), (name, record, row)
    decisions = Counter(row.decision for row in audited)
    # 400: clients and lines with a wrong temperature
    assert decisions["refused"] == seen.statuses[400] + lines["failed"]
    assert decisions["cached"] >= seen.cached > 0
    assert value_of(metrics, "gateway_usage_requests_total") == len(used) == sums["requests"]
    for kind in ("prompt", "completion"):
        shown = value_of(metrics, "gateway_usage_tokens_total", kind=kind)
        assert shown == sums[f"{kind}_tokens"] > 0


async def test_every_book_has_every_request_once(
    location: Location, echo_triton: EchoTriton, tmp_path: Path
) -> None:
    admin, user = await _people(location)
    flags = ["--require-keys", "--database-url", url_of(location), "--cache", "deterministic"]
    flags += ["--backend-networks", "127.0.0.0/8"]
    with (
        lying_server() as liar,
        forwarded(echo_triton.grpc_address) as triton,
        run_gateway("127.0.0.1:9", tmp_path / "log", *flags, wait_ready=False) as gateway,
    ):
        await asyncio.to_thread(_register, gateway, admin, triton, liar)
        before = len(liar.asked)
        seen, lines = await _all_at_once(gateway, user, liar)
        assert len(liar.asked) > before, "no request was sent twice"
        assert lines == {"total": _LINES, "completed": _LINES - 2, "failed": 2}
        assert set(seen.statuses) == {200, 400}, "a request failed at one upstream alone"
        assert seen.left > 0
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                await _check(location, gateway, seen, lines)
                break
            except AssertionError:
                if time.monotonic() > deadline_s:
                    raise
            await asyncio.sleep(0.5)
