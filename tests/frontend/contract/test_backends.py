"""Upstreams that are registered while two gateways run: taken up, drained, deleted, refused."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx2
import pytest

from frontend.__main__ import main as gateway_main
from frontend.store.location import Location
from tests.support.accounts import accounts_of_clinic
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, script
from tests.support.forward import forwarded
from tests.support.gateway import run_gateway
from tests.support.processes import wait_for
from tests.support.web import web_server

CLOUD_KEY = "sk-never-shown-anywhere"


class Pair:
    """Two gateways on one database, and the address of a Triton that they do not know."""

    def __init__(
        self, one: httpx2.Client, two: httpx2.Client, location: Location, triton: str
    ) -> None:
        self.one, self.two, self.location, self.triton = one, two, location, triton
        self.local_key = ""
        """Of a user whose prompts may not leave the site."""

    def register(self, name: str, url: str, **fields: Any) -> dict[str, Any]:
        body = {"name": name, "url": url, **fields}
        answer = self.one.post("/admin/backends/register", json=body)
        assert answer.status_code == 201, answer.text
        shown: dict[str, Any] = answer.json()
        return shown


@pytest.fixture(scope="module")
def pair(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory, echo_triton: EchoTriton
) -> Iterator[Pair]:
    location = databases.sqlite()
    admin, local_group, local_key = asyncio.run(accounts_of_clinic(location))
    folder = tmp_path_factory.mktemp("backends")
    (folder / "cloud").write_text(CLOUD_KEY)
    flags = ["--require-keys", "--database-url", f"sqlite:///{location.file}"]
    flags += ["--backend-networks", "127.0.0.0/8", "--backend-keys", str(folder)]
    flags += ["--local-groups", local_group]
    headers = {"authorization": f"Bearer {admin}"}
    logs = [folder / "one.log", folder / "two.log"]
    with (
        forwarded(echo_triton.grpc_address) as triton,
        run_gateway("127.0.0.1:9", logs[0], *flags, wait_ready=False) as one,
        run_gateway("127.0.0.1:9", logs[1], *flags, wait_ready=False) as two,
        httpx2.Client(base_url=one.url, headers=headers, timeout=60) as first,
        httpx2.Client(base_url=two.url, headers=headers, timeout=60) as second,
    ):
        made = Pair(first, second, location, triton)
        made.local_key = local_key
        yield made
        assert not any(CLOUD_KEY in log.read_text() for log in logs)


def ask(client: httpx2.Client, **fields: Any) -> httpx2.Response:
    body = {"model": "echo", "messages": script(**fields)}
    return client.post("/v1/chat/completions", json=body)


def find(client: httpx2.Client, name: str) -> dict[str, Any]:
    shown: dict[str, Any] = client.get(f"/admin/backends/{name}").json()
    return shown


def is_ready(client: httpx2.Client, name: str) -> bool:
    return find(client, name).get("status") == "ready"


def delete(pair: Pair, name: str) -> None:
    answer = pair.one.delete(f"/admin/backends/{name}", params={"wait_s": 60})
    assert answer.status_code == 200, answer.text


def test_both_gateways_use_what_one_registered_until_it_is_deleted(
    pair: Pair,
) -> None:
    made = pair.register("both", pair.triton, max_concurrent=8, gpu_memory_gb=23.5)
    assert (made["source"], made["gpu_memory_gb"], made["status"]) == ("api", 23.5, "ready")
    assert "echo" in made["models"]
    for client in (pair.one, pair.two):
        wait_for(partial(is_ready, client, "both"), what="the backend")
        assert ask(client, text="here").json()["choices"][0]["message"]["content"] == "here"
        listed = client.get("/admin/backends").json()["data"]
        assert [one["source"] for one in listed if one["name"] in ("triton", "both")] == [
            "settings",
            "api",
        ]
    delete(pair, made["id"])
    wait_for(lambda: ask(pair.two, text="gone").status_code in (404, 503), what="its end")
    assert pair.one.get(f"/admin/backends/{made['id']}").status_code == 404
    events = pair.one.get("/admin/events", params={"target_id": made["id"]}).json()["data"]
    actions = [one["action"] for one in events]
    assert actions == ["backends.register", "backends.drain", "backends.delete"]
    assert events[0]["after"][f"backend:{made['id']}"]["url"] == pair.triton
    assert events[2]["before"][f"backend:{made['id']}"]["name"] == "both"
    assert events[2]["after"] is None


def test_a_drained_backend_ends_its_requests_and_gets_no_new_ones(
    pair: Pair,
) -> None:
    made = pair.register("leaves", pair.triton)
    wait_for(lambda: is_ready(pair.two, "leaves"), what="the backend")
    path = f"/admin/backends/{made['id']}"
    with ThreadPoolExecutor() as threads:
        # the other gateway's request: who deletes must see it, too
        asked = threads.submit(ask, pair.two, text="whole", first_delay_ms=15_000)
        wait_for(lambda: find(pair.two, "leaves")["running"] == 1, what="the request")
        refused = pair.one.delete(path)
        assert refused.status_code == 409
        assert "the backend 'leaves' still runs 1 requests" in refused.json()["error"]["message"]
        assert (find(pair.one, "leaves")["status"], find(pair.one, "leaves")["running"]) == (
            "draining",
            1,
        )
        for client in (pair.one, pair.two):
            assert ask(client, text="new").status_code == 503
        delete(pair, made["id"])
        assert asked.result().json()["choices"][0]["message"]["content"] == "whole"


def test_no_request_fails_while_one_of_two_is_drained_and_enabled_again(
    pair: Pair,
) -> None:
    names = ("stays", "drains")
    for name in names:
        pair.register(name, pair.triton, max_concurrent=2)
    with ThreadPoolExecutor(24) as threads:
        asked = [threads.submit(ask, pair.one, text="whole", first_delay_ms=500) for _ in range(24)]
        wait_for(lambda: find(pair.one, "drains")["running"] > 0, what="requests at both")
        assert pair.one.post("/admin/backends/drains/drain").json()["draining"] is True
        wait_for(lambda: find(pair.one, "drains")["running"] == 0, what="the end of its requests")
        assert pair.one.post("/admin/backends/drains/enable").json()["status"] == "ready"
        assert {one.result().status_code for one in asked} == {200}
    assert pair.one.post("/admin/backends/drains/disable").json()["status"] == "disabled"
    assert pair.one.post("/admin/backends/stays/refresh").json()["status"] == "ready"
    assert ask(pair.one, text="on").status_code == 200
    for name in names:
        delete(pair, name)


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"url": "10.0.0.7:8001"}, 400, "'url' is '10.0.0.7:8001': it is at an address that"),
        ({"url": "169.254.169.254:80"}, 400, "not public"),
        ({"url": "[::ffff:127.0.0.1]:8001"}, 400, "not public"),
        ({"url": "unix:/run/triton"}, 400, "not the address of a gRPC server"),
        ({"url": "dns:///127.0.0.1:8001"}, 400, "not the address of a gRPC server"),
        ({"url": "http://127.0.0.1:8000"}, 400, "not the address of a gRPC server"),
        ({"url": "http://10.1.2.3:80", "engine": "vllm"}, 400, "not public"),
        ({"url": "http://u:p@127.0.0.1", "engine": "vllm"}, 400, "user names"),
        ({"url": "absent.invalid:8001"}, 400, "cannot be resolved"),
        (
            {"max_concurrent": 9, "max_num_seqs": 8},
            400,
            "'max_concurrent' is 9; it must not exceed",
        ),
        ({"max_concurrent": 0}, 400, "max_concurrent"),
        ({"gpu_memory_gb": -1}, 400, "gpu_memory_gb"),
        ({"engine": "what"}, 400, "engine"),
        ({"name": "a b"}, 400, "'name' is 'a b'"),
        ({"name": "triton"}, 409, "settings already have an upstream 'triton'"),
        ({"api_key_env": "X_API_KEY"}, 400, "'api_key_env' is not supported for a Triton server"),
        ({"unknown": 1}, 400, "unknown"),
    ],
)
def test_a_wrong_registration_is_refused_with_its_field(
    pair: Pair, fields: dict[str, Any], status: int, says: str
) -> None:
    body = {"name": "wrong", "url": "127.0.0.1:9", **fields}
    answer = pair.one.post("/admin/backends/register", json=body)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"api_key_env": "TRITON_FRONTEND_DATABASE_URL"}, "'api_key_env'"),
        ({"api_key_file": "../etc/passwd"}, "'api_key_file'"),
        ({"api_key_file": "/etc/passwd"}, "'api_key_file'"),
    ],
)
def test_a_key_is_only_where_the_operator_keeps_keys(
    pair: Pair, fields: dict[str, str], says: str
) -> None:
    body = {"name": "cloud", "url": "http://127.0.0.1:9", "engine": "openai", **fields}
    answer = pair.one.post("/admin/backends/register", json=body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]


def test_a_key_is_never_shown(pair: Pair) -> None:
    url = "http://127.0.0.1:9/v1"
    made = pair.register("cloud", url, engine="openai", api_key_file="cloud")
    assert (made["api_key_file"], made["status"]) == ("cloud", "unreachable")
    missing = pair.register("none", url, engine="openai", api_key_env="ABSENT_API_KEY")
    wait_for(lambda: find(pair.one, "none")["status"] == "failed", what="the failure")
    assert "ABSENT_API_KEY" in find(pair.one, "none")["error"]
    paths = ("/admin/backends", f"/admin/backends/{made['id']}", "/admin/events", "/admin/status")
    assert not any(CLOUD_KEY in pair.one.get(path).text for path in paths)
    for each in (made, missing):
        delete(pair, each["id"])


def test_an_upstream_of_the_settings_is_shown_and_not_changed(pair: Pair) -> None:
    shown = find(pair.one, "triton")
    assert (shown["source"], shown["read_only"], shown["status"]) == (
        "settings",
        True,
        "unreachable",
    )
    for method, path in [("POST", "/drain"), ("POST", "/disable"), ("DELETE", "")]:
        answer = pair.one.request(method, f"/admin/backends/triton{path}")
        assert answer.status_code == 409
        assert "in the gateway's settings" in answer.json()["error"]["message"]
    twice = pair.register("twice", "127.0.0.1:9")
    again = {"name": "twice", "url": "127.0.0.1:9"}
    assert pair.one.post("/admin/backends/register", json=again).status_code == 409
    wrong = pair.one.delete(f"/admin/backends/{twice['id']}", params={"wait_s": "soon"})
    assert wrong.status_code == 400
    delete(pair, twice["id"])


def test_prompts_that_must_stay_are_refused_and_not_sent_elsewhere(pair: Pair) -> None:
    cloud = [{"name": "cloud-echo", "own": "echo"}]
    far = pair.register("far-away", pair.triton, external=True, models=cloud)
    near = pair.register("nearby", pair.triton)
    local = {"authorization": f"Bearer {pair.local_key}"}

    def ask_as(model: str, headers: dict[str, str] | None = None) -> httpx2.Response:
        body = {"model": model, "messages": script(text="here")}
        return pair.one.post("/v1/chat/completions", json=body, headers=headers)

    assert ask_as("cloud-echo").status_code == 200
    # it is not replaced by the model that the site has
    refused = ask_as("cloud-echo", local)
    assert refused.status_code == 403
    message = refused.json()["error"]["message"]
    assert "'cloud-echo' is served outside this site" in message
    assert ask_as("echo", local).status_code == 200
    # what is inside from now on may be used, in the next moment
    path = f"/admin/backends/{far['id']}"
    assert pair.one.patch(path, json={"external": False}).status_code == 200
    assert ask_as("cloud-echo", local).status_code == 200
    for each in (far, near):
        delete(pair, each["id"])


def test_a_backend_is_changed_in_every_gateway(pair: Pair) -> None:
    made = pair.register("edited", pair.triton, max_concurrent=8)
    path = f"/admin/backends/{made['id']}"
    body = {"max_concurrent": 2, "priority": 3, "gpu_memory_gb": 40, "revision": made["revision"]}
    edited = pair.one.patch(path, json=body)
    assert edited.status_code == 200, edited.text
    shown = edited.json()
    assert (shown["max_concurrent"], shown["priority"], shown["gpu_memory_gb"]) == (2, 3, 40.0)
    assert shown["revision"] != made["revision"]
    wait_for(lambda: find(pair.two, "edited")["max_concurrent"] == 2, what="the change")
    # what somebody else changed meanwhile is not overwritten
    refused = pair.one.patch(path, json={"priority": 9, "revision": made["revision"]})
    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "revision_changed"
    matched = {"if-match": f'"{shown["revision"]}"'}
    off = pair.one.patch(path, json={"enabled": False, "max_concurrent": None}, headers=matched)
    assert (off.json()["status"], off.json()["max_concurrent"]) == ("disabled", None)
    assert pair.one.patch(path, json={"priority": 1}, headers=matched).status_code == 409
    events = pair.one.get("/admin/events", params={"target_id": made["id"]}).json()["data"]
    assert [one["action"] for one in events] == ["backends.register", *["backends.edit"] * 2]
    row = f"backend:{made['id']}"
    assert events[1]["before"][row]["max_concurrent"] == 8
    assert events[1]["after"][row]["max_concurrent"] == 2
    delete(pair, made["id"])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"max_concurrent": 0}, "max_concurrent"),
        ({"priority": 2000}, "priority"),
        ({"url": "127.0.0.1:1"}, "url"),
        ({"max_concurrent": 9, "max_num_seqs": 8}, "'max_concurrent' is 9; it must not exceed"),
        ({"api_key_env": "X_API_KEY"}, "'api_key_env' is not supported for a Triton server"),
    ],
)
def test_a_wrong_change_is_refused_with_its_field(
    pair: Pair, fields: dict[str, Any], says: str
) -> None:
    name = f"wrong-{next(iter(fields))}-{len(fields)}"
    made = pair.register(name, "127.0.0.1:9")
    answer = pair.one.patch(f"/admin/backends/{made['id']}", json=fields)
    assert answer.status_code == 400, answer.text
    assert says in answer.json()["error"]["message"]
    settings = pair.one.patch("/admin/backends/triton", json={"priority": 1})
    assert settings.json()["error"]["code"] == "backend_read_only"
    delete(pair, made["id"])


def test_more_requests_than_the_engine_runs_are_refused(pair: Pair) -> None:
    with web_server() as web:
        web.files |= {"/v1/models": b'{"data": [{"id": "m"}]}', "/props": b'{"total_slots": 4}'}
        body = {"name": "small", "url": web.url, "engine": "llama.cpp", "max_concurrent": 5}
        refused = pair.one.post("/admin/backends/register", json=body)
        assert refused.status_code == 400
        message = refused.json()["error"]["message"]
        assert (
            "'max_concurrent' is 5; it must not exceed the engine's 'max_num_seqs' of 4" in message
        )
        made = pair.register("small", web.url, engine="llama.cpp", max_concurrent=4)
        wait_for(lambda: find(pair.one, "small").get("engine_slots") == 4, what="its slots")
        path = f"/admin/backends/{made['id']}"
        assert pair.one.patch(path, json={"max_concurrent": 5}).status_code == 400
        assert pair.one.patch(path, json={"max_concurrent": 3}).status_code == 200
        delete(pair, made["id"])


def test_the_command_registers_for_running_gateways(
    pair: Pair,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TRITON_FRONTEND_BACKEND_NETWORKS", "127.0.0.0/8")
    monkeypatch.setenv("TRITON_FRONTEND_DATABASE_URL", f"sqlite:///{pair.location.file}")
    argv = ["backends", "register", "by-hand", pair.triton, "--json"]
    assert gateway_main(argv) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "by-hand"
    wait_for(lambda: is_ready(pair.two, "by-hand"), what="the backend")
    assert gateway_main(["backends", "list"]) == 0
    assert "by-hand" in capsys.readouterr().out
    argv = ["backends", "set", "by-hand", "--max-concurrent", "3", "--priority", "2", "--json"]
    assert gateway_main(argv) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["max_concurrent"], shown["priority"]) == (3, 2)
    wait_for(lambda: find(pair.two, "by-hand")["max_concurrent"] == 3, what="the change")
    argv = ["backends", "set", "by-hand", "--max-concurrent", "none", "--revision", "old"]
    assert gateway_main(argv) != 0
    assert "was changed since you read it" in capsys.readouterr().err
    assert gateway_main(["backends", "register", "far", "10.0.0.1:8001"]) == 2
    assert "not public" in capsys.readouterr().err
    assert gateway_main(["backends", "delete", "by-hand", "--wait-s", "20"]) == 0
