"""The response cache over HTTP: hits, misses, bypasses, owners, quotas, and what is never kept."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.keys import NewKey
from frontend.accounts.directory.users import NewUser
from frontend.store.database import Database
from frontend.store.location import Location
from tests.support.accounts import opened
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, echo_requests, script
from tests.support.gateway import run_gateway
from tests.support.processes import wait_for
from tests.support.redis import RedisServer

CHAT = "/v1/chat/completions"


class Desk:
    """A gateway with the cache on, and its users by name."""

    def __init__(self, url: str, keys: dict[str, str], triton: EchoTriton) -> None:
        self.keys, self.triton = keys, triton
        self.api = httpx2.Client(base_url=url, timeout=60)

    def post(self, user: str, path: str, body: dict[str, Any], **headers: str) -> httpx2.Response:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"authorization": f"Bearer {self.keys[user]}", **headers}
        return self.api.post(path, json=body, headers=sent)

    def ask(self, user: str, text: str, **fields: Any) -> httpx2.Response:
        headers = {n: fields.pop(n) for n in [*fields] if n == "x_cache_control"}
        body = {"model": "echo", "messages": script(text=text), "temperature": 0, **fields}
        answer = self.post(user, CHAT, body, **headers)
        assert answer.status_code == 200, answer.text
        return answer

    def get(self, path: str, **query: str) -> Any:
        headers = {"authorization": f"Bearer {self.keys['ops']}"}
        return self.api.get(path, params=query, headers=headers).json()

    def ran(self, text: str) -> int:
        """How often the engine saw the text."""
        seen = [json.dumps(one) for one in echo_requests(self.triton)]
        return sum(text in one for one in seen)


@pytest.fixture(scope="module")
def desk(
    echo_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    location = databases.sqlite()
    keys, groups = asyncio.run(_people(location))
    folder = tmp_path_factory.mktemp("cache")
    rules = {groups["priced"]: {"price": 0.5}, groups["off"]: {"mode": "off"}}
    rules[groups["together"]] = {"scope": "group", "mode": "asked"}
    flags = ["--require-keys", "--database-url", f"sqlite:///{location.file}"]
    flags += ["--cache", "deterministic", "--cache-groups", json.dumps(rules)]
    with run_gateway(echo_triton.grpc_address, folder / "log", *flags) as gateway:
        made = Desk(gateway.url, keys, echo_triton)
        yield made
        made.api.close()


async def _people(location: Location) -> tuple[dict[str, str], dict[str, str]]:
    database = Database(location)
    directory = await opened(database)
    keys, groups = {}, {}
    users = [("ops", "admin", None), ("ann", "student", None), ("bob", "student", None)]
    for group in ("priced", "off", "together"):
        made = await directory.groups.create(OPERATOR, group, None, 1)
        groups[group] = made.id
        users += [(f"{group}-1", "student", made.id), (f"{group}-2", "student", made.id)]
    for name, role, group_id in users:
        user = await directory.users.create(OPERATOR, NewUser(name, role, group_id=group_id))
        key = await directory.keys.create(OPERATOR, user.id, NewKey())
        assert key.text is not None
        keys[name] = key.text
    await database.close()
    return keys, groups


def said(answer: httpx2.Response) -> str:
    return str(answer.json()["choices"][0]["message"]["content"])


def cache_of(answer: httpx2.Response) -> str | None:
    return answer.headers.get("x-cache")


def test_the_same_request_runs_once_and_its_answer_is_the_same(desk: Desk) -> None:
    first, second = (desk.ask("ann", "only once") for _ in range(2))
    assert (cache_of(first), cache_of(second)) == ("miss", "hit")
    assert said(first) == said(second) == "only once"
    assert first.json()["usage"] == second.json()["usage"]
    assert first.json()["id"] != second.json()["id"]
    assert desk.ran("only once") == 1


def test_a_stream_is_replayed_in_its_chunks_and_shares_the_key(desk: Desk) -> None:
    whole = desk.ask("ann", "one two three")
    fields = {"stream": True, "stream_options": {"include_usage": True}}
    replayed = desk.ask("ann", "one two three", **fields)
    fresh = desk.ask("ann", "one two three", x_cache_control="no-cache", **fields)
    assert (cache_of(whole), cache_of(replayed), cache_of(fresh)) == ("miss", "hit", "bypass")
    deltas = [_deltas(one.text) for one in (replayed, fresh)]
    assert deltas[0] == deltas[1]
    assert len(deltas[0]) > 3
    assert replayed.text.rstrip().endswith("data: [DONE]")


def _deltas(text: str) -> list[Any]:
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    return [[one["choices"], one.get("usage")] for one in map(json.loads, lines)]


def test_dialects_share_answers(desk: Desk) -> None:
    desk.ask("ann", "whatever the dialect", max_tokens=50)
    body = {"model": "echo", "messages": script(text="whatever the dialect"), "stream": False}
    body["options"] = {"temperature": 0, "num_predict": 50}
    answers = [desk.post("ann", "/api/chat", body) for _ in range(2)]
    assert cache_of(answers[1]) == "hit"
    assert answers[1].json()["message"]["content"] == "whatever the dialect"


def test_an_answer_that_is_not_determined_is_cached_only_when_asked(desk: Desk) -> None:
    for _ in range(2):
        assert cache_of(desk.ask("ann", "chance", temperature=1)) == "bypass"
    assert desk.ran("chance") == 2
    seeded = [cache_of(desk.ask("ann", "seeded", temperature=1, seed=7)) for _ in range(2)]
    assert seeded == ["miss", "hit"]
    asked = [cache_of(desk.ask("ann", "asked", temperature=1, cache={})) for _ in range(2)]
    assert asked == ["miss", "hit"]
    named = [desk.ask("ann", "named", temperature=1, x_cache_control="use") for _ in range(2)]
    assert [cache_of(one) for one in named] == ["miss", "hit"]


def test_a_request_says_what_it_wants_of_the_cache(desk: Desk) -> None:
    assert cache_of(desk.ask("ann", "not kept", cache={"store": False})) == "miss"
    assert cache_of(desk.ask("ann", "not kept")) == "miss"
    assert cache_of(desk.ask("ann", "not kept", cache={"max_age_s": 0})) == "miss"
    assert cache_of(desk.ask("ann", "not kept", x_cache_control="no-cache, no-store")) == "bypass"
    assert cache_of(desk.ask("ann", "not kept", x_cache_control="max-age=60, ttl=5")) == "hit"


@pytest.mark.parametrize(
    ("header", "says"),
    [("private", "'private', which is not known"), ("max-age=soon", "'max-age' must be a number")],
)
def test_a_wrong_header_is_refused(desk: Desk, header: str, says: str) -> None:
    body = {"model": "echo", "messages": script(text="x")}
    answer = desk.post("ann", CHAT, body, x_cache_control=header)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]
    wrong = desk.post("ann", CHAT, {**body, "cache": {"ttl_s": -1}})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "cache.ttl_s")


def test_owners_never_share_and_groups_do_as_their_rule_says(desk: Desk) -> None:
    assert cache_of(desk.ask("ann", "mine")) == "miss"
    assert cache_of(desk.ask("bob", "mine")) == "miss"
    assert desk.ran("mine") == 2
    off = [cache_of(desk.ask("off-1", "never")) for _ in range(2)]
    assert off == [None, None]
    assert cache_of(desk.ask("off-1", "never", cache={})) == "bypass"
    assert cache_of(desk.ask("together-1", "ours")) is None
    assert cache_of(desk.ask("together-1", "ours", cache={})) == "miss"
    assert cache_of(desk.ask("together-2", "ours", cache={})) == "hit"


def test_a_hit_is_free_or_costs_its_part_and_usage_says_that_it_was_cached(desk: Desk) -> None:
    for user, shares in (("bob", [1, 0]), ("priced-1", [1, 0.5])):
        text = f"costs of {user}"
        tokens = [_charged(desk, user, text) for _ in range(2)]
        whole = tokens[0]
        assert tokens[1] == pytest.approx(whole * shares[1], abs=1), user
        assert whole > 4
    wait_for(lambda: ("cached", "cache") in _decisions(desk), what="the audit record")
    metrics = desk.api.get("/metrics").text
    assert 'gateway_cache_requests_total{model="echo",result="hit"}' in metrics


def _decisions(desk: Desk) -> set[tuple[str, str]]:
    records = desk.get("/admin/audit/search", limit="50")["data"]
    return {(one["decision"], one["upstream"]) for one in records}


def _charged(desk: Desk, user: str, text: str) -> int:
    before = _used(desk, user)
    desk.ask(user, text)
    requests, tokens = before
    wait_for(lambda: _used(desk, user)[0] == requests + 1, what="the usage")
    return _used(desk, user)[1] - tokens


def _used(desk: Desk, user: str) -> tuple[int, int]:
    headers = {"authorization": f"Bearer {desk.keys[user]}"}
    totals = desk.api.get("/me/usage", headers=headers).json()["totals"]
    return totals["requests"], totals["prompt_tokens"] + totals["completion_tokens"]


def test_embeddings_and_prompts_of_one_request_are_cached_one_by_one(desk: Desk) -> None:
    body = {"model": "echo-embedding", "input": ["a cat", "a dog"]}
    first, second = (desk.post("ann", "/v1/embeddings", body) for _ in range(2))
    assert (cache_of(first), cache_of(second)) == ("miss", "hit")
    assert first.json() == second.json()
    prompts = {"model": "echo", "prompt": ["p one", "p two"], "temperature": 0}
    assert cache_of(desk.post("ann", "/v1/completions", prompts)) == "miss"
    again = desk.post("ann", "/v1/completions", prompts)
    assert cache_of(again) == "hit"
    more = desk.post("ann", "/v1/completions", {**prompts, "prompt": ["p two", "p three"]})
    assert cache_of(more) == "miss"
    assert [one["index"] for one in more.json()["choices"]] == [0, 1]
    assert (desk.ran("p two"), desk.ran("p three")) == (1, 1)


def test_failed_and_cancelled_answers_are_not_kept(desk: Desk) -> None:
    messages = script(text="breaks off", fail_after=1)
    body = {"model": "echo", "messages": messages, "temperature": 0}
    for _ in range(2):
        assert desk.post("ann", CHAT, body).status_code == 502
    slow = {"model": "echo", "messages": script(text="left early " * 50, delay_ms=20)}
    slow |= {"temperature": 0, "stream": True}
    headers = {"authorization": f"Bearer {desk.keys['ann']}"}
    with desk.api.stream("POST", CHAT, json=slow, headers=headers) as answer:
        assert "data" in next(answer.iter_lines())
    again = desk.post("ann", CHAT, {**slow, "max_tokens": 3, "stream": False})
    assert cache_of(again) == "miss"
    with desk.api.stream("POST", CHAT, json=slow, headers=headers) as answer:
        assert answer.headers["x-cache"] == "miss"


def test_operators_see_figures_and_empty_the_cache(desk: Desk) -> None:
    desk.ask("ann", "to be purged")
    figures = desk.get("/admin/cache")
    assert figures["enabled"] is True
    assert figures["store"] == "memory"
    assert figures["entries"] > 0
    assert 0 < figures["size_bytes"] <= figures["max_bytes"]
    headers = {"authorization": f"Bearer {desk.keys['ops']}"}
    other = desk.api.post("/admin/cache/purge", json={"model": "nothing"}, headers=headers)
    assert other.json()["deleted"] == 0
    gone = desk.api.post("/admin/cache/purge", json={}, headers=headers).json()
    assert gone["deleted"] == figures["entries"]
    assert cache_of(desk.ask("ann", "to be purged")) == "miss"
    (event,) = desk.get("/admin/events", action="cache.purge", target_id="all")["data"]
    assert event["details"]["deleted"] == gone["deleted"]
    assert desk.post("ann", "/admin/cache/purge", {}).status_code == 403


def test_two_gateways_share_redis_and_a_damaged_entry_is_a_miss(
    echo_triton: EchoTriton, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("shared")
    flags = ["--cache", "deterministic", "--cache-store", "redis", "--cache-secret", "s3cret"]
    flags += ["--redis-url", redis_server.url]
    body = {"model": "echo", "messages": script(text="in redis"), "temperature": 0}
    with (
        run_gateway(echo_triton.grpc_address, folder / "one.log", *flags) as one,
        run_gateway(echo_triton.grpc_address, folder / "two.log", *flags) as two,
    ):

        def ask(gateway: Any) -> str | None:
            return cache_of(httpx2.post(f"{gateway.url}{CHAT}", json=body))

        assert (ask(one), ask(two), ask(one)) == ("miss", "hit", "hit")
        redis_server.damage("{triton-gateway}:cache:*")
        assert (ask(two), ask(one)) == ("miss", "hit")
        redis_server.stop()
        try:
            assert ask(one) == "miss", "no request fails because of the cache"
        finally:
            redis_server.start()
