"""Versions and canaries on the real Triton, with two gateways: who answers, and what is shown."""

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from frontend.__main__ import main as gateway_main
from frontend.store.database import Database
from frontend.store.location import Location
from tests.support.accounts import add, opened
from tests.support.databases import Databases
from tests.support.gateway import run_gateway
from tests.support.plain import versioned_triton
from tests.support.processes import PATIENCE_S, wait_for

USERS = 12


class House:
    """Two gateways with one database in front of a Triton with two versions of `chat`."""

    def __init__(
        self, one: httpx2.Client, two: httpx2.Client, users: list[str], location: Location
    ) -> None:
        self.one, self.two, self.users, self.location = one, two, users, location

    def make(self, model: str, *targets: tuple[str, float], **fields: Any) -> dict[str, Any]:
        shares = [{"model": name, "percent": percent} for name, percent in targets]
        body = {"model": model, "targets": shares, **fields}
        answer = self.one.post("/admin/canaries", json=body)
        assert answer.status_code == 201, answer.text
        shown: dict[str, Any] = answer.json()
        # the other gateway reads twice a second
        wait_for(lambda: self.state(shown["id"]) is not None, what="the other gateway")
        return shown

    def state(self, canary: str, number: int = 0) -> str | None:
        """What the second gateway says about a target."""
        targets = self.two.get(f"/admin/canaries/{canary}").json()["targets"]
        return targets[number].get("state") if number < len(targets) else None

    def ask(
        self, model: str, text: str = "VERSION", key: str = "", api: httpx2.Client | None = None
    ) -> httpx2.Response:
        headers = {"authorization": f"Bearer {key or self.users[0]}"}
        body = {"model": model, "prompt": text, "max_tokens": 8, "temperature": 0}
        return (api or self.one).post("/v1/completions", json=body, headers=headers)

    def end(self, canary: str) -> None:
        assert self.one.delete(f"/admin/canaries/{canary}").json()["deleted"] is True


@pytest.fixture(scope="module")
def house(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    location = databases.sqlite()
    admin, *users = asyncio.run(_people(location))
    folder = tmp_path_factory.mktemp("shared-names")
    flags = ["--require-keys", "--database-url", f"sqlite:///{location.file}"]
    flags += ["--poll-interval-s", "0.2", "--cache", "deterministic", "--audit", "metadata"]
    headers = {"authorization": f"Bearer {admin}"}
    with (
        versioned_triton(folder) as triton,
        run_gateway(triton.grpc_address, folder / "one.log", *flags) as one,
        run_gateway(triton.grpc_address, folder / "two.log", *flags) as two,
        httpx2.Client(base_url=one.url, headers=headers, timeout=30) as first,
        httpx2.Client(base_url=two.url, headers=headers, timeout=30) as second,
    ):
        yield House(first, second, users, location)


async def _people(location: Location) -> list[str]:
    database = Database(location)
    directory = await opened(database)
    names = ["ops", *(f"user-{number}" for number in range(USERS))]
    roles = ["admin", *["student"] * USERS]
    keys = [(await add(directory, *one))[1] for one in zip(names, roles, strict=True)]
    await database.close()
    return keys


def test_each_version_is_a_model_and_the_name_means_the_newest(house: House) -> None:
    listed = {one["id"] for one in house.one.get("/v1/models").json()["data"]}
    assert {"chat", "chat@1", "chat@2", "other"} <= listed
    said = {name: house.ask(name).json() for name in ("chat", "chat@1", "chat@2")}
    assert {name: one["choices"][0]["text"] for name, one in said.items()} == {
        "chat": "2", "chat@1": "1", "chat@2": "2"
    }  # fmt: skip
    assert [one["model"] for one in said.values()] == ["chat", "chat@1", "chat@2"]
    managed = {one["id"]: one for one in house.one.get("/admin/models").json()["data"]}
    assert managed.keys() == {"chat", "other"}
    versions = managed["chat"]["upstreams"][0]["versions"]
    assert [one["version"] for one in versions] == ["1", "2"]


def test_users_share_two_versions_and_each_stays_at_both_gateways(house: House) -> None:
    made = house.make("chat", ("chat@1", 50), ("chat@2", 50))
    seen = {}
    for key in house.users[1:]:  # the first one has asked both before
        answers = [house.ask("chat", key=key, api=api) for api in (house.one, house.two)]
        bodies = [one.json() for one in answers]
        (model,) = {one["model"] for one in bodies}
        assert {one.headers["x-served-model"] for one in answers} == {model}
        # the answer comes from the version that it names, also from the cache
        again = house.ask("chat", key=key)
        assert again.headers["x-cache"] == "hit"
        assert {one["choices"][0]["text"] for one in (*bodies, again.json())} == {model[-1]}
        seen[key] = model
    assert set(seen.values()) == {"chat@1", "chat@2"}
    records = house.one.get("/admin/audit/search", params={"limit": 100}).json()["data"]
    assert {"chat@1", "chat@2"} <= {one["model"] for one in records}
    models = [*seen.values()] * 2
    sums = [models.count("chat@1"), models.count("chat@2")]

    def shown_at(api: httpx2.Client) -> list[tuple[int, float | None]]:
        targets = api.get("/admin/canaries/chat").json()["targets"]
        return [(one["requests"], one["first_token_ms"]) for one in targets]

    def are_equal() -> bool:
        own, other = shown_at(house.one), shown_at(house.two)
        return own == other and [requests for requests, _ in own] == sums

    # both gateways show what both have seen; answers from the cache do not count
    wait_for(are_equal, what="the sums of both gateways")
    assert all(ms is not None and ms > 0 for _, ms in shown_at(house.one))
    shown = house.two.get("/admin/canaries").json()["data"][0]
    assert sum(one["requests"] for one in shown["targets"]) == 2 * (USERS - 1)
    assert {one["state"] for one in shown["targets"]} == {"ready"}
    metrics = house.one.get("/admin/metrics").text
    assert 'gateway_canary_requests_total{canary="chat",result="ok",target="chat@1"}' in metrics
    house.end(made["id"])
    assert house.ask("chat").json()["model"] == "chat"


def test_a_promotion_goes_on_with_the_streams_that_run(house: House) -> None:
    made = house.make("fresh", ("chat@1", 100), ("chat@2", 0))
    assert "fresh" in {one["id"] for one in house.one.get("/v1/models").json()["data"]}
    begun, said = threading.Event(), []
    prompt = "SLOWLY SAY " + "|".join("abcdefghijklmnop") + " END"
    headers = {"authorization": f"Bearer {house.users[1]}"}
    body = {"model": "fresh", "prompt": prompt, "max_tokens": 16, "stream": True}

    def read() -> None:
        stream = house.two.stream("POST", "/v1/completions", json=body, headers=headers)
        with stream as answer:
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    begun.set()
                    said.append(json.loads(line.removeprefix("data: ")))

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(PATIENCE_S)
    path = f"/admin/canaries/{made['id']}"
    promoted = house.one.post(f"{path}/promote", json={"target": "chat@2"})
    assert [one["model"] for one in promoted.json()["targets"]] == ["chat@2"]
    reader.join()
    assert (
        "".join(one["choices"][0]["text"] for one in said if one["choices"]) == "abcdefghijklmnop"
    )
    assert {one["model"] for one in said} == {"chat@1"}
    assert house.ask("fresh").json()["model"] == "chat@2"
    house.end(made["id"])
    assert house.ask("fresh").status_code == 404


def test_a_failing_version_is_withdrawn_everywhere_with_an_event_and_an_alarm(
    house: House,
) -> None:
    made = house.make("risky", ("chat@1", 0), ("chat@2", 100), min_requests=3)
    # a prompt that is not cached: a cached answer does not show how the model does
    first = house.ask("risky", "VERSION, please", key=house.users[2])
    assert first.json()["model"] == "chat@2"
    for _ in range(2):
        # the stable version answers what this one fails, and that is not its answer in the cache
        broken = house.ask("risky", "BREAK 2", key=house.users[2])
        assert (broken.json()["model"], broken.headers["x-served-model"]) == ("chat@1", "chat@1")
        assert broken.headers["x-cache"] == "miss"
    after = house.ask("risky", "BREAK 2", key=house.users[2])
    assert (after.json()["model"], after.headers["x-served-model"]) == ("chat@1", "chat@1")
    wait_for(lambda: house.state(made["id"], 1) == "withdrawn", what="the other gateway")
    shown = house.two.get("/admin/canaries/risky").json()["targets"][1]
    assert shown["reason"] == "2 of its last 3 requests failed"
    assert house.ask("risky", key=house.users[3], api=house.two).json()["model"] == "chat@1"
    assert house.ask("chat@2").json()["model"] == "chat@2"  # by its own name it is there
    (event,) = [one for one in _events(house) if one["action"] == "canaries.withdraw"]
    assert (event["actor_name"], event["details"]["target"]) == ("gateway", "chat@2")
    alerts = {one["name"]: one for one in house.two.get("/admin/alerts").json()["data"]}
    assert alerts["GatewayCanaryWithdrawn"]["subject"] == "risky"
    assert 'gateway_canary_withdrawn{canary="risky"} 1.0' in house.two.get("/admin/metrics").text
    # new shares give it another chance
    edit = {"targets": [{"model": "chat@1", "percent": 0}, {"model": "chat@2", "percent": 100}]}
    edited = house.one.patch(f"/admin/canaries/{made['id']}", json=edit)
    assert edited.json()["targets"][1]["state"] == "ready"
    house.end(made["id"])


def test_a_version_is_withdrawn_for_what_two_gateways_saw_together(house: House) -> None:
    made = house.make("halves", ("chat@1", 0), ("chat@2", 100), min_requests=6)
    for api in (house.one, house.two):
        answers = [
            house.ask("halves", text, key=house.users[4], api=api).json()["model"]
            for text in ("VERSION, by halves", "BREAK 2", "BREAK 2")
        ]
        # three requests of six that it takes: neither gateway withdraws it by itself
        assert answers == ["chat@2", "chat@1", "chat@1"]

    def reason() -> str | None:
        shown: str | None = house.one.get("/admin/canaries/halves").json()["targets"][1]["reason"]
        return shown

    # one gateway decides by the sum, and the other one follows it
    wait_for(lambda: reason() == "4 of its last 6 requests failed", what="the sum")
    wait_for(lambda: house.state(made["id"], 1) == "withdrawn", what="the other gateway")

    def stable() -> bool:
        both = (house.ask("halves", key=house.users[5], api=api) for api in (house.one, house.two))
        return {one.json()["model"] for one in both} == {"chat@1"}

    wait_for(stable, what="both gateways")
    events = [one for one in _events(house) if one["details"].get("name") == "halves"]
    assert [one["action"] for one in events].count("canaries.withdraw") == 1
    house.end(made["id"])


def _events(house: House) -> list[dict[str, Any]]:
    found = house.one.get("/admin/events", params={"limit": 100, "order": "newest"})
    events: list[dict[str, Any]] = found.json()["data"]
    return events


def test_changes_are_events_with_before_and_after_and_an_edit_can_be_undone(house: House) -> None:
    made = house.make("audited", ("chat@1", 90), ("other", 10))
    path = f"/admin/canaries/{made['id']}"
    stale = house.one.patch(path, json={"min_requests": 5, "revision": "old"})
    assert (stale.status_code, stale.json()["error"]["code"]) == (409, "revision_changed")
    edit = {"targets": [{"model": "chat@1", "percent": 80}, {"model": "other", "percent": 20}]}
    assert house.one.patch(path, json={**edit, "revision": made["revision"]}).status_code == 200
    (event,) = [one for one in _events(house) if one["action"] == "canaries.edit"][:1]
    row = f"canary:{made['id']}"
    shares = [event[when][row]["targets"][0]["percent"] for when in ("before", "after")]
    assert shares == [90, 80]
    undone = house.one.request(
        event["undo"]["method"], event["undo"]["path"], json=event["undo"]["body"]
    )
    assert undone.json()["targets"][0]["percent"] == 90
    house.end(made["id"])


@pytest.mark.parametrize(
    ("body", "param", "text"),
    [
        ({"targets": [{"model": "chat@1", "percent": 90}]}, "targets", "add up to 100, not 90"),
        ({"targets": [{"model": "gone", "percent": 100}]}, "targets[0].model", "'gone'"),
        ({"targets": []}, "targets", "targets"),
        (
            {"targets": [{"model": "other", "percent": 50}] * 2},
            "targets",
            "contains 'other' twice",
        ),
        (
            {"targets": [{"model": "other", "percent": 100, "weight": 1}]},
            "targets[0].weight",
            "weight",
        ),
        ({"model": "a b", "targets": [{"model": "other", "percent": 100}]}, "model", "'a b'"),
    ],
)
def test_what_cannot_be_used_is_refused_by_field(
    house: House, body: dict[str, Any], param: str, text: str
) -> None:
    refused = house.one.post("/admin/canaries", json={"model": "refused", **body})
    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (400, param)
    assert text in error["message"]


def test_who_may_load_models_may_change_canaries_and_a_name_has_one(house: House) -> None:
    headers = {"authorization": f"Bearer {house.users[0]}"}
    assert house.one.get("/admin/canaries", headers=headers).status_code == 403
    made = house.make("taken", ("other", 100))
    again = {"model": "taken", "targets": [{"model": "chat@1", "percent": 100}]}
    assert house.one.post("/admin/canaries", json=again).status_code == 409
    wrong = house.one.post(f"/admin/canaries/{made['id']}/promote", json={"target": "chat"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "target")
    listed = house.one.get("/admin/canaries").json()["data"]
    assert made["id"] in {one["id"] for one in listed}
    house.end(made["id"])
    assert house.one.get(f"/admin/canaries/{made['id']}").status_code == 404


def test_the_command_does_what_the_api_does(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{house.location.file}"
    triton = str(house.one.get("/admin/backends").json()["data"][0]["url"])
    monkeypatch.setenv("TRITON_FRONTEND_TRITON", triton)
    canary = ["models", "canary"]
    flags = ["--database-url", url]
    argv = [*canary, "set", "by-hand", "chat@1=95", "chat@2=5", "--sticky", "session", *flags]
    assert gateway_main(argv) == 0
    assert "chat@2" in capsys.readouterr().out
    shown = house.one.get("/admin/canaries/by-hand").json()
    assert (shown["sticky"], shown["targets"][1]["percent"]) == ("session", 5)
    assert gateway_main([*canary, "set", "by-hand", "chat@1=90", "chat@2=10", *flags]) == 0
    assert gateway_main([*canary, "set", "by-hand", "chat@1=90", *flags]) == 2
    assert "add up to 100, not 90" in capsys.readouterr().err
    assert gateway_main([*canary, "promote", "by-hand", "chat@2", *flags]) == 0
    capsys.readouterr()
    assert gateway_main([*canary, "list", "--json", *flags]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["model"]) for one in listed] == [("by-hand", "chat@2")]
    assert gateway_main([*canary, "delete", "by-hand", *flags]) == 0
