"""Operators see, load and unload models at each upstream while other models continue."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from frontend.__main__ import main as gateway_main
from frontend.store.database import Database
from frontend.store.location import Location
from tests.support.accounts import add, opened
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import wait_for

CHANGED = "echo-diffusion"
"""The model that is loaded and unloaded."""


class House:
    """A gateway in front of a Triton and of an OpenAI server, which is another gateway."""

    def __init__(self, api: httpx2.Client, key: str, user: str, gateway: Gateway) -> None:
        self.api, self.key, self.user, self.gateway = api, key, user, gateway

    def change(self, action: str, model: str = CHANGED, **fields: Any) -> httpx2.Response:
        return self.api.post(f"/admin/models/{action}", json={"model": model, **fields})

    def state(self, model: str = CHANGED, upstream: str = "triton") -> str:
        one = self.api.get(f"/admin/models/{model}").json()
        return next(str(c["state"]) for c in one["upstreams"] if c["upstream"] == upstream)


@pytest.fixture(scope="module")
def house(
    own_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    location = databases.sqlite()
    admin, user = asyncio.run(_people(location))
    folder = tmp_path_factory.mktemp("managed")
    upstreams = folder / "upstreams.json"
    with run_gateway(own_triton.grpc_address, folder / "other.log") as other:
        entries = [
            {"name": "triton", "url": own_triton.grpc_address},
            {
                "name": "remote",
                "url": other.url,
                "engine": "vllm",
                "models": [{"name": "echo-embedding"}],
            },
        ]
        upstreams.write_text(json.dumps({"upstreams": entries}))
        flags = ["--require-keys", "--database-url", f"sqlite:///{location.file}"]
        flags += ["--upstreams", str(upstreams), "--poll-interval-s", "0.2"]
        headers = {"authorization": f"Bearer {admin}"}
        with (
            run_gateway("127.0.0.1:9", folder / "log", *flags) as gateway,
            httpx2.Client(base_url=gateway.url, headers=headers, timeout=60) as api,
        ):
            yield House(api, admin, user, gateway)


async def _people(location: Location) -> tuple[str, str]:
    database = Database(location)
    directory = await opened(database)
    keys = [
        (await add(directory, name, role))[1] for name, role in (("ops", "admin"), ("s", "student"))
    ]
    await database.close()
    return keys[0], keys[1]


@pytest.fixture(autouse=True)
def all_loaded(house: House) -> None:
    for model in ("echo", CHANGED):
        assert house.change("load", model, upstream="triton").status_code == 200


def test_a_model_is_shown_with_each_of_its_copies(house: House) -> None:
    body = {"model": "echo", "messages": script(text="used")}
    assert house.api.post("/v1/chat/completions", json=body).status_code == 200
    listed = house.api.get("/admin/models").json()
    assert [one["id"] for one in listed["data"]] == ["echo", "echo-diffusion", "echo-embedding"]
    echo = listed["data"][0]
    assert (echo["object"], echo["state"], echo["kind"]) == ("model", "loaded", "llm")
    assert echo["last_used_at"] is not None
    copies = {one["upstream"]: one for one in echo["upstreams"]}
    assert set(copies) == {"triton"}
    (version,) = copies["triton"]["versions"]
    assert (version["version"], version["state"]) == ("1", "loaded")
    embedding = {one["upstream"]: one for one in listed["data"][2]["upstreams"]}
    assert (embedding["remote"]["state"], embedding["remote"]["versions"]) == ("loaded", [])
    assert (copies["triton"]["on_demand"], copies["triton"]["expires_at"]) == (False, None)
    first = house.api.get("/admin/models", params={"limit": 1, "upstream": "triton"}).json()
    assert (len(first["data"]), first["has_more"]) == (1, True)
    rest = house.api.get("/admin/models", params={"after": first["next_after"]}).json()
    assert [one["id"] for one in rest["data"]] == ["echo-diffusion", "echo-embedding"]
    assert house.api.get("/admin/models", params={"state": "failed"}).json()["data"] == []


def test_a_stream_of_another_model_goes_on_meanwhile(house: House) -> None:
    messages = script(text="word " * 3000, delay_ms=50)
    body = {"model": "echo", "messages": messages, "stream": True}
    changes = ("unload", "load", "unload", "load")
    with (
        ThreadPoolExecutor(1) as thread,
        house.api.stream("POST", "/v1/chat/completions", json=body) as answer,
    ):
        pieces = (line for line in answer.iter_lines() if line.startswith("data: "))
        for _ in range(5):
            next(pieces)
        work = thread.submit(lambda: [house.change(one, upstream="triton") for one in changes])
        during = 0
        while not work.done():
            assert '"word ' in next(pieces)
            during += 1
        for _ in range(5):
            assert '"word ' in next(pieces)
    states = [one.json()["state"] for one in work.result()]
    assert states == ["unloaded", "loaded"] * 2
    assert during > 0


def test_a_change_is_noted_with_what_was_before(house: House) -> None:
    gone = house.change("unload", upstream="triton")
    assert gone.status_code == 200, gone.text
    assert house.state() == "unloaded"
    answer = house.api.post("/v1/images/generations", json={"model": CHANGED, "prompt": "a cat"})
    assert answer.status_code == 503
    back = house.change("load", upstream="triton")
    assert (back.status_code, house.state()) == (200, "loaded")
    events = house.api.get("/admin/events", params={"target_id": CHANGED}).json()["data"]
    noted = [(one["action"], one["before"], one["after"]) for one in events[-2:]]
    row = f"model:{CHANGED}@triton"
    assert noted == [
        ("models.unload", {row: {"state": "loaded"}}, {row: {"state": "unloaded"}}),
        ("models.load", {row: {"state": "unloaded"}}, {row: {"state": "loaded"}}),
    ]
    assert events[-1]["actor_name"] == "ops"
    assert events[-1]["details"]["upstream"] == "triton"


def test_an_unload_waits_for_the_requests_of_the_model(house: House) -> None:
    with ThreadPoolExecutor(1) as thread:
        body = {"model": "echo", "messages": script(text="whole", first_delay_ms=6000)}
        asked = thread.submit(house.api.post, "/v1/chat/completions", json=body)
        wait_for(lambda: _running(house) == 1, what="the request")
        begun = house.change("unload", "echo", upstream="triton", wait_s=0)
        assert (begun.status_code, house.state("echo")) == (202, "unloading")
        assert asked.result().json()["choices"][0]["message"]["content"] == "whole"
    wait_for(lambda: house.state("echo") == "unloaded", what="the unload")


def _running(house: House) -> int:
    copies = house.api.get("/admin/models/echo").json()["upstreams"]
    return sum(one["running"] for one in copies if one["upstream"] == "triton")


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"model": "nothing"}, 404, "no upstream has a model 'nothing'"),
        ({"model": "echo", "upstream": "north"}, 404, "there is no upstream 'north'; there are: "),
        (
            {"model": "echo-embedding", "upstream": "remote"},
            501,
            "'remote' (vllm) does not load or unload",
        ),
        ({"model": "echo", "upstream": 3}, 400, "upstream"),
        ({"model": ""}, 400, "model"),
        ({}, 400, "model"),
        ({"model": "echo", "wait_s": -1}, 400, "wait_s"),
        ({"model": "echo", "force": True}, 400, "force"),
    ],
)
def test_what_cannot_be_changed_is_refused(
    house: House, fields: dict[str, Any], status: int, says: str
) -> None:
    for action in ("load", "unload"):
        answer = house.api.post(f"/admin/models/{action}", json=fields)
        assert answer.status_code == status, answer.text
        assert says in answer.json()["error"]["message"]


def test_only_who_may_load_models_sees_and_changes_them(house: House) -> None:
    headers = {"authorization": f"Bearer {house.user}"}
    for method, path in (("GET", ""), ("GET", "/echo"), ("POST", "/load"), ("POST", "/unload")):
        answer = house.api.request(method, f"/admin/models{path}", headers=headers)
        assert answer.status_code == 403


def test_a_model_that_does_not_load_is_shown_as_failed(house: House, echo_repository: Path) -> None:
    broken = echo_repository / "cannot-load"
    broken.mkdir()
    try:
        (broken / "config.pbtxt").write_text('backend: "nothing"\nmax_batch_size: 0\n')
        (broken / "1").mkdir()
        answer = house.change("load", "cannot-load")
        assert answer.status_code == 502
        assert "'cannot-load' cannot be loaded" in answer.json()["error"]["message"]
        assert house.state("cannot-load") == "failed"
        event = house.api.get("/admin/events", params={"target_id": "cannot-load"}).json()["data"][
            -1
        ]
        assert event["details"]["error"] == "backend_error"
    finally:
        (broken / "config.pbtxt").unlink()
        (broken / "1").rmdir()
        broken.rmdir()


def test_the_command_does_the_same(
    own_triton: EchoTriton,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TRITON_FRONTEND_TRITON", own_triton.grpc_address)
    database = ["--database-url", f"sqlite:///{databases.sqlite().file}", "--json"]
    for action, state in (("unload", "unloaded"), ("load", "loaded")):
        assert gateway_main(["models", action, CHANGED, *database]) == 0
        (line,) = json.loads(capsys.readouterr().out)
        assert (line["model"], line["upstream"], line["state"]) == (CHANGED, "triton", state)
    assert gateway_main(["models", "list", *database]) == 0
    listed = {one["model"]: one["state"] for one in json.loads(capsys.readouterr().out)}
    assert listed[CHANGED] == "loaded"
    assert gateway_main(["models", "load", "nothing", *database]) == 1
    assert "has no model 'nothing'" in capsys.readouterr().err


def test_a_request_makes_room_for_its_model_and_takes_it_from_no_stream(
    house: House, own_triton: EchoTriton, tmp_path: Path
) -> None:
    flags = ("--keep-alive", "10m", "--max-loaded-models", "2", "--min-loaded-s", "0")
    assert house.change("unload", upstream="triton").status_code == 200
    with (
        run_gateway(own_triton.grpc_address, tmp_path / "log", *flags) as gateway,
        httpx2.Client(base_url=gateway.url, timeout=60) as api,
    ):
        # known since the gateway saw it; then there are two, of which one has a stream
        assert house.change("load", upstream="triton").status_code == 200
        wait_for(lambda: CHANGED in _names(api), what="the model")
        assert house.change("unload", upstream="triton").status_code == 200
        body = {"model": "echo", "messages": script(text="word " * 3000, delay_ms=50)}
        with api.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as answer:
            pieces = (line for line in answer.iter_lines() if line.startswith("data: "))
            for _ in range(3):
                next(pieces)
            with httpx2.Client(base_url=gateway.url, timeout=60) as other:
                image = {"model": CHANGED, "prompt": "a cat"}
                made = other.post("/v1/images/generations", json=image)
                assert made.status_code == 200, made.text
            for _ in range(5):
                assert '"word ' in next(pieces)
    assert house.state("echo") == "loaded"
    assert house.state("echo-embedding") == "unloaded"
    assert house.change("load", "echo-embedding", upstream="triton").status_code == 200


def _names(api: httpx2.Client) -> set[str]:
    return {one["id"] for one in api.get("/v1/models").json()["data"]}
