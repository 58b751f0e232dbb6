"""Limits, credits and usage on a real gateway, over HTTP."""

import asyncio
import contextlib
import csv
import io
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI, RateLimitError
from sqlalchemy import update

from frontend.store.database import Database
from frontend.store.location import Location
from frontend.store.tables import gateways, reservations
from tests.support.bank import Bank, staffed
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, script
from tests.support.gateway import run_gateway
from tests.support.ledgers import check_books, rows_of
from tests.support.processes import wait_for


@pytest.fixture(scope="module")
def bank(
    echo_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bank]:
    location = databases.sqlite()
    admin = asyncio.run(staffed(location))
    log = tmp_path_factory.mktemp("bank") / "log"
    with run_gateway(echo_triton.grpc_address, log, *_flags(location)) as gateway:
        yield Bank(gateway, location, admin)


def _flags(location: Location) -> list[str]:
    return ["--require-keys", "--database-url", f"sqlite:///{location.file}"]


def test_headers_say_what_is_left_on_every_answer(bank: Bank) -> None:
    _, key = bank.user("ada", requests_minute=2, tokens_month=10_000)
    models = bank.ask("GET", "/v1/models", key)
    assert models.headers["x-ratelimit-remaining-requests"] == "2"
    answer = bank.chat(key, max_tokens=20)
    assert answer.headers["x-ratelimit-limit-requests"] == "2"
    assert answer.headers["x-ratelimit-remaining-requests"] == "1"
    # one of 2 a minute is back 30 seconds after it was used, and the answer took a part of that
    assert re.fullmatch(r"[12]?\d(\.\d+)?s|30s|\d+ms", answer.headers["x-ratelimit-reset-requests"])
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) < 10_000
    assert re.fullmatch(r"(\d+h)?(\d+m)?[\d.]+m?s", answer.headers["x-ratelimit-reset-tokens"])
    body = {"model": "echo", "max_tokens": 5, "messages": [{"role": "user", "content": "a"}]}
    message = bank.ask("POST", "/v1/messages", key, body)
    assert message.headers["anthropic-ratelimit-tokens-limit"] == "10000"
    assert bank.ask("GET", "/healthz").headers.get("x-ratelimit-limit-requests") is None
    assert bank.ask("POST", "/v1/nothing", key).status_code == 404


def test_a_budget_that_is_used_up_is_named_in_every_dialect(bank: Bank) -> None:
    _, key = bank.user("bob", tokens_month=0)
    with (
        OpenAI(base_url=f"{bank.gateway.url}/v1", api_key=key, max_retries=2) as client,
        pytest.raises(RateLimitError) as caught,
    ):
        client.chat.completions.create(model="echo", messages=script())
    response, body = caught.value.response, caught.value.response.json()["error"]
    assert response.headers["x-should-retry"] == "false"
    assert int(response.headers["retry-after"]) <= 120
    assert int(response.headers["retry-after-ms"]) <= 120_000
    assert (body["code"], body["type"]) == ("insufficient_quota", "insufficient_quota")
    assert "token budget of your user is used up" in body["message"]
    assert re.search(r"resets at \d{4}-\d\d-01T00:00:00Z", body["message"])
    message = {"model": "echo", "max_tokens": 5, "messages": [{"role": "user", "content": "a"}]}
    anthropic = bank.ask("POST", "/v1/messages", key, message)
    assert anthropic.status_code == 429
    assert anthropic.json()["error"]["type"] == "rate_limit_error"
    ollama = bank.ask("POST", "/api/chat", key, {**message, "max_tokens": None})
    assert ollama.status_code == 429
    assert "token budget of your user" in ollama.json()["error"]
    embedding = {"model": "echo-embedding", "input": "a"}
    assert bank.ask("POST", "/v1/embeddings", key, embedding).status_code == 429
    assert bank.left(key)["used"] == bank.left(key)["reserved"] == 0


def test_a_stream_is_held_to_what_is_left(bank: Bank) -> None:
    user, key = bank.user("eve", tokens_month=60)
    text = str(script(chunks=500)[0]["content"])
    with httpx2.stream(
        "POST",
        f"{bank.gateway.url}/v1/chat/completions",
        headers={"authorization": f"Bearer {key}"},
        json={"model": "echo", "messages": script(chunks=500), "stream": True},
        timeout=30,
    ) as answer:
        assert "max_tokens: lowered to" in answer.headers["warning"]
        body = answer.read().decode()
    assert '"finish_reason":"length"' in body, text
    assert bank.settled(key) <= 60
    assert bank.ask("GET", f"/admin/quotas?scope_id={user}").json()["data"][0]["amount"] == 60


def test_64_requests_at_once_on_a_budget_of_1000_tokens(bank: Bank) -> None:
    _, key = bank.user("race", tokens_month=1000)

    async def ask(client: httpx2.AsyncClient) -> tuple[int, int]:
        body = {"model": "echo", "messages": script(chunks=40), "max_tokens": 40}
        answer = await client.post("/v1/chat/completions", json=body)
        usage = answer.json().get("usage", {})
        return answer.status_code, usage.get("total_tokens", 0)

    async def race() -> list[tuple[int, int]]:
        headers = {"authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient(
            base_url=bank.gateway.url, headers=headers, timeout=60
        ) as client:
            return await asyncio.gather(*(ask(client) for _ in range(64)))

    answers = asyncio.run(race())
    assert {status for status, _ in answers} == {200, 429}
    assert bank.settled(key) == sum(tokens for _, tokens in answers) <= 1000


def test_30_streams_that_are_aborted_leave_no_slot_and_exact_charges(bank: Bank) -> None:
    user, key = bank.user("gone", tokens_month=100_000)
    what = {"measure": "concurrency", "period": "none", "amount": 40}
    bank.make("/admin/quotas", scope_kind="user", scope_id=user, **what)

    async def read(client: httpx2.AsyncClient) -> None:
        body = {"model": "echo", "messages": script(chunks=400, delay_ms=20), "stream": True}
        body["max_tokens"] = 500  # otherwise 30 whole contexts would be reserved
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            assert answer.status_code == 200
            await anext(answer.aiter_raw())

    async def abort() -> None:
        headers = {"authorization": f"Bearer {key}"}
        limits = httpx2.Limits(max_connections=40)
        async with httpx2.AsyncClient(
            base_url=bank.gateway.url, headers=headers, timeout=60, limits=limits
        ) as client:
            await asyncio.gather(*(read(client) for _ in range(30)))

    asyncio.run(abort())
    assert bank.settled(key, "concurrency") == 0
    used = bank.settled(key)

    def reported() -> int:
        totals = bank.ask("GET", "/me/usage?interval=total", key).json()["totals"]
        assert totals["requests"] <= 30
        return int(totals["prompt_tokens"] + totals["completion_tokens"])

    wait_for(lambda: reported() == used, what="the usage rows")
    assert 0 < used < 30 * 400


def test_usage_adds_up_in_any_time_zone_and_with_the_metrics(bank: Bank) -> None:
    user, key = bank.user("fred", tokens_day=10_000)
    for _ in range(3):
        assert bank.chat(key, max_tokens=5).status_code == 200
    wait_for(
        lambda: bank.ask("GET", "/me/usage", key).json()["totals"]["requests"] == 3, what="rows"
    )
    own = bank.ask("GET", "/me/usage", key).json()
    for zone in ("UTC", "Asia/Kathmandu", "America/St_Johns", "Europe/Berlin"):
        for interval in ("hour", "day", "month", "total"):
            query = f"?user_id={user}&tz={zone}&interval={interval}&by=model,key_id"
            rows = bank.ask("GET", f"/admin/usage{query}").json()
            for name in ("requests", "prompt_tokens", "completion_tokens", "price", "credits"):
                assert sum(one[name] for one in rows["data"]) == own["totals"][name]
    text = bank.ask("GET", f"/admin/usage?user_id={user}&format=csv")
    assert text.headers["content-type"].startswith("text/csv")
    table = list(csv.DictReader(io.StringIO(text.text)))
    assert sum(int(row["requests"]) for row in table) == 3
    everything = bank.ask("GET", "/admin/usage?interval=total").json()["totals"]
    metrics = bank.ask("GET", "/metrics").text
    for kind in ("prompt", "completion"):
        (value,) = re.findall(rf'gateway_usage_tokens_total{{kind="{kind}"}} ([\d.e+]+)', metrics)
        assert float(value) == everything[f"{kind}_tokens"]
    page = bank.ask("GET", "/admin/usage?limit=1").json()
    assert page["has_more"]
    following = bank.ask("GET", f"/admin/usage?limit=200&after={page['next_after']}").json()
    assert page["data"][0] not in following["data"]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("tz=Mars", "tz"), ("interval=second", "interval"), ("start=x", "start"), ("by=x", "by"),
        ("start=2026-01-02&end=2026-01-01", "start"), ("after=x~", "after"), ("who=me", "who"),
        ("start=1000-01-01&end=2026-01-01", "start"), ("format=xml", "format"),
    ],
)  # fmt: skip
def test_a_report_that_cannot_be_made_names_the_parameter(
    bank: Bank, query: str, param: str
) -> None:
    answer = bank.ask("GET", f"/admin/usage?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"measure": "love"}, "measure"), ({"period": "eon"}, "period"), ({"amount": -1}, "amount"),
        ({"scope_kind": "planet"}, "scope_kind"), ({"scope_id": "absent"}, "scope_id"),
        ({"measure": "concurrency", "period": "day"}, "period"), ({"expires_at": 1}, "expires_at"),
        ({"owner": "me"}, "owner"),
    ],
)  # fmt: skip
def test_a_quota_that_is_not_valid_names_the_field(
    bank: Bank, change: dict[str, Any], param: str
) -> None:
    chief = bank.ask("GET", "/me").json()["id"]
    body = {"scope_kind": "user", "scope_id": chief, "amount": 5, **change}
    answer = bank.ask("POST", "/admin/quotas", body=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_more_is_requested_granted_and_used_within_a_second(bank: Bank) -> None:
    user, key = bank.user("gil", tokens_month=0)
    assert bank.chat(key, max_tokens=5).status_code == 429
    asked = {"amount": 5000, "reason": "a course", "expires_at": 4_000_000_000}
    filed = bank.ask("POST", "/me/quota-requests", key, asked).json()
    assert (filed["status"], filed["user_id"]) == ("pending", user)
    approved = bank.make(f"/admin/quota-requests/{filed['id']}/approve")
    assert approved["status"] == "approved"
    wait_for(lambda: bank.chat(key, max_tokens=5).status_code == 200, what="the increase")
    again = bank.ask("POST", f"/admin/quota-requests/{filed['id']}/refuse", body={})
    assert again.status_code == 409
    bank.settled(key)
    reset = approved["quota_id"]
    assert bank.make(f"/admin/quotas/{reset}/reset")["id"] == reset
    assert bank.left(key)["used"] == 0
    mine = bank.ask("GET", "/me/quota-requests", key).json()["data"]
    assert [one["id"] for one in mine] == [filed["id"]]
    events = bank.ask("GET", "/admin/events?action=quota_requests.approve").json()["data"]
    assert events[-1]["details"]["user_id"] == user


def test_a_decision_is_shown_to_its_user_until_it_was_seen(bank: Bank) -> None:
    def pending() -> dict[str, int]:
        counts: dict[str, int] = bank.ask("GET", "/admin/status").json()["pending_decisions"]
        return counts

    def unseen(key: str) -> list[tuple[str, str, str | None]]:
        mine = bank.ask("GET", "/me", key).json()["unseen_decisions"]
        return [(one["id"], one["status"], one["note"]) for one in mine]

    _, key = bank.user("hope")
    _, other = bank.user("hugo")
    before = pending()["quota_requests"]
    ids = [
        bank.ask("POST", "/me/quota-requests", key, {"amount": n, "reason": "more"}).json()["id"]
        for n in (7000, 8000, 9000)
    ]
    assert pending()["quota_requests"] == before + 3
    assert unseen(key) == []
    early = bank.ask("POST", f"/me/quota-requests/{ids[2]}/seen", key, {})
    assert (early.status_code, early.json()["error"]["code"]) == (404, "quota_request_not_found")
    bank.make(f"/admin/quota-requests/{ids[0]}/approve")
    bank.make(f"/admin/quota-requests/{ids[1]}/refuse", note="not in this term")
    assert pending()["quota_requests"] == before + 1
    shown = [(ids[0], "approved", None), (ids[1], "refused", "not in this term")]
    assert unseen(key) == shown
    # somebody else's does not exist
    assert unseen(other) == []
    assert bank.ask("POST", f"/me/quota-requests/{ids[0]}/seen", other, {}).status_code == 404
    assert unseen(key) == shown
    for _ in range(2):  # a repeated one changes nothing
        seen = bank.ask("POST", f"/me/quota-requests/{ids[0]}/seen", key, {})
        assert (seen.status_code, seen.json()["id"]) == (200, ids[0])
        assert unseen(key) == shown[1:]


def test_embeddings_that_fit_the_rest_of_a_budget_are_not_refused(bank: Bank) -> None:
    _, rich = bank.user("kim", tokens_month=100_000)
    text = " ".join(["word"] * 40)
    body = {"model": "echo-embedding", "input": [text, text]}
    needed = bank.ask("POST", "/v1/embeddings", rich, body).json()["usage"]["total_tokens"]
    assert needed < len(text), "its bytes must be a poor bound"
    _, poor = bank.user("lea", tokens_month=2 * needed, concurrency_none=1)
    for used in (needed, 2 * needed):
        assert bank.ask("POST", "/v1/embeddings", poor, body).status_code == 200
        assert bank.settled(poor) == used
    _, short = bank.user("max", tokens_month=needed - 1)
    refused = bank.ask("POST", "/v1/embeddings", short, body)
    assert refused.json()["error"]["code"] == "insufficient_quota"
    assert f"the request needs {needed}" in refused.json()["error"]["message"]
    assert bank.settled(short) == 0


def test_headers_are_of_now(bank: Bank) -> None:
    user, key = bank.user("nia", requests_day=10)
    (quota,) = bank.ask("GET", f"/admin/quotas?scope_id={user}").json()["data"]
    # the request has ended and is not in the database yet
    assert bank.chat(key, max_tokens=5).headers["x-ratelimit-remaining-requests"] == "9"
    bank.make(f"/admin/quotas/{quota['id']}/reset")

    def left() -> str:
        return bank.ask("GET", "/v1/models", key).headers["x-ratelimit-remaining-requests"]

    wait_for(lambda: left() == "10", what="the reset in the headers")


def test_plans_credits_and_prices(bank: Bank) -> None:
    names = [one["name"] for one in bank.ask("GET", "/admin/plans").json()["data"]]
    assert {"free", "developer", "pro", "teams", "enterprise"} <= set(names)
    user, key = bank.user("hal")
    whose = {"scope_kind": "user", "scope_id": user}
    small = bank.make("/admin/plans", name="two", credits=2)["id"]
    bank.make("/admin/prices", model="echo", prompt=3, completion=15, credits=1)
    first, first_key = bank.user("ian")

    def is_priced() -> bool:
        bank.chat(first_key, max_tokens=5)
        path = f"/admin/usage?user_id={first}&interval=total"
        return bool(bank.ask("GET", path).json()["totals"]["price"] > 0)

    wait_for(is_priced, what="the price")  # the gateway reads the table once a second
    bank.make("/admin/subscriptions", **whose, plan_id=small)
    query = f"/admin/credits?scope_kind=user&scope_id={user}"
    assert bank.ask("GET", query).json()["available"] > 0
    bank.make("/admin/credits", **whose, credits=2, note="for the course")
    spent = 0
    while bank.chat(key, max_tokens=5).status_code == 200:
        spent += 1
        assert spent < 9
    refusal = bank.chat(key, max_tokens=5).json()["error"]
    assert refusal["code"] == "insufficient_quota"
    assert "credits of your user are used up" in refusal["message"]
    wait_for(lambda: bank.ask("GET", query).json()["spent"] == spent, what="the settle")
    totals = bank.ask("GET", f"/admin/usage?user_id={user}&interval=total").json()["totals"]
    assert totals["credits"] == spent
    assert totals["price"] > 0
    (own,) = bank.ask("GET", "/me/credits", key).json()["data"]
    assert (own["plan"], own["scope_kind"], own["scope_id"]) == ("two", "user", user)
    assert (own["spent"], own["spent_in_period"], own["reserved"]) == (spent, spent, 0)
    assert own["available"] == bank.ask("GET", query).json()["available"]
    assert own["period_starts_at"] < time.time() < own["renews_at"]
    assert bank.ask("GET", "/me/credits", first_key).json()["data"] == []
    taken = bank.ask("POST", "/admin/credits", body={**whose, "credits": -999})
    assert taken.status_code == 400
    bank.make("/admin/subscriptions", **whose, plan_id="pro")
    wait_for(lambda: bank.chat(key, max_tokens=5).status_code == 200, what="the upgrade")
    shared = bank.ask("POST", "/admin/subscriptions", body={**whose, "plan_id": "teams"})
    assert shared.json()["error"]["param"] == "scope_kind"
    assert bank.ask("DELETE", f"/admin/plans/{small}").status_code == 200


def test_deleting_a_key_or_a_user_keeps_usage_and_budget(bank: Bank) -> None:
    user, key = bank.user("ivy", tokens_month=500)
    assert bank.chat(key, max_tokens=5).status_code == 200
    used = bank.settled(key)
    (public_id,) = [one["id"] for one in bank.ask("GET", "/me/keys", key).json()["data"]]
    bank.ask("DELETE", f"/admin/keys/{public_id}")
    other = bank.make("/admin/keys", user_id=user)["key"]
    assert bank.left(other)["used"] == used > 0
    (quota,) = bank.ask("GET", f"/admin/quotas?scope_id={user}").json()["data"]
    bank.ask("DELETE", f"/admin/quotas/{quota['id']}")
    what = {"measure": "tokens", "period": "month", "amount": 500}
    bank.make("/admin/quotas", scope_kind="user", scope_id=user, **what)
    assert bank.left(other)["used"] == used
    bank.ask("DELETE", f"/admin/users/{user}")
    totals = bank.ask("GET", f"/admin/usage?user_id={user}&interval=total").json()["totals"]
    assert totals["requests"] == 1
    again, fresh = bank.user("ivy", tokens_month=500)
    assert again != user
    assert bank.left(fresh)["used"] == 0


def test_a_killed_gateway_is_settled_by_the_next_one(
    echo_triton: EchoTriton, location: Location, tmp_path: Path
) -> None:
    """`kill -9` in the middle of streams: what was written down is charged, nothing stays."""
    admin, url = asyncio.run(staffed(location)), location.url
    if not location.is_sqlite:
        url = url.set(drivername="postgresql")
    flags = ["--require-keys", "--database-url"]
    flags.append(
        f"sqlite:///{location.file}"
        if location.is_sqlite
        else url.render_as_string(hide_password=False)
    )
    triton = echo_triton.grpc_address
    with run_gateway(triton, tmp_path / "one", *flags) as gateway:
        bank = Bank(gateway, location, admin)
        _, key = bank.user("kim", tokens_month=100_000, concurrency_none=8)

        async def killed() -> None:
            body = {"model": "echo", "messages": script(chunks=900, delay_ms=10), "stream": True}
            headers = {"authorization": f"Bearer {key}"}
            async with httpx2.AsyncClient(
                base_url=gateway.url, headers=headers, timeout=60
            ) as client:
                streams = [asyncio.create_task(_drain(client, body)) for _ in range(3)]
                await _flushed(location, len(streams))
                gateway.process.kill()
                await asyncio.gather(*streams, return_exceptions=True)

        asyncio.run(killed())
    asyncio.run(_expire(location))
    with run_gateway(triton, tmp_path / "two", *flags) as second:
        bank = Bank(second, location, admin)
        used = bank.settled(key)
        assert bank.settled(key, "concurrency") == 0
        assert 3 * 64 <= used <= 3 * 900
        totals = bank.ask("GET", "/me/usage?interval=total", key).json()["totals"]
        assert totals["prompt_tokens"] + totals["completion_tokens"] == used
        assert totals["requests"] == totals["failures"] == 3
        assert bank.chat(key, max_tokens=5).status_code == 200
    asyncio.run(_check(location))


async def _drain(client: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    with contextlib.suppress(httpx2.TransportError):
        async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            async for _ in answer.aiter_raw():
                pass


async def _flushed(location: Location, streams: int) -> None:
    """Waits until 64 tokens of every stream have been written down."""
    database = Database(location)
    while True:
        counts = [row.completion_tokens for row in await rows_of(database, reservations)]
        if len(counts) == streams and min(counts) >= 64:
            break
        await asyncio.sleep(0.05)
    await database.close()


async def _expire(location: Location) -> None:
    """Ends the lease of the gateway that was killed, which takes 45 seconds otherwise."""
    database = Database(location)
    async with database.begin() as connection:
        await connection.execute(update(gateways).values(expires_at_us=0))
    await database.close()


async def _check(location: Location) -> None:
    database = Database(location)
    await check_books(database)
    assert not await rows_of(database, gateways), "the second one has ended in order"
    await database.close()
