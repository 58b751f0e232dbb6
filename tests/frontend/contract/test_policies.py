"""Policies of groups: prompts never reach an upstream whose labels the policy does not allow."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
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
from tests.support.lying import MODEL, Liar, lying_server
from tests.support.processes import wait_for

NAMES = ("echo", "echo-embedding", "echo-rerank", "echo-diffusion")
ALLOWED = {"trust": ["high", "medium"], "site": ["local"]}


@dataclass
class Hospital:
    """A gateway with an upstream that a group may use, and one, preferred, that it may not."""

    admin: httpx2.Client
    clinic: httpx2.Client
    location: Location
    group: str
    outside: Liar

    def allow(self, **labels: str) -> None:
        answer = self.admin.patch("/admin/backends/inside", json={"labels": labels})
        assert answer.status_code == 200, answer.text


@pytest.fixture
def hospital(databases: Databases, tmp_path: Path, echo_triton: EchoTriton) -> Iterator[Hospital]:
    location = databases.sqlite()
    admin_key, group, key = asyncio.run(accounts_of_clinic(location))
    flags = ["--require-keys", "--database-url", f"sqlite:///{location.file}"]
    flags += ["--backend-networks", "127.0.0.0/8"]
    with (
        forwarded(echo_triton.grpc_address) as triton,
        lying_server() as outside,
        run_gateway("127.0.0.1:9", tmp_path / "log", *flags, wait_ready=False) as gateway,
        httpx2.Client(base_url=gateway.url, timeout=60) as admin,
        httpx2.Client(base_url=gateway.url, timeout=60) as clinic,
    ):
        admin.headers["authorization"] = f"Bearer {admin_key}"
        clinic.headers["authorization"] = f"Bearer {key}"
        kinds = {"echo": "chat", "echo-embedding": "embedding", "echo-rerank": "rerank",
                 "echo-diffusion": "image"}  # fmt: skip
        outside.models = [{**MODEL, "id": name, "capabilities": [kinds[name]]} for name in NAMES]
        outside.models[0]["capabilities"] = ["chat", "completion"]
        safe = {"name": "inside", "url": triton, "labels": {"trust": "high"}}
        cheap = {"name": "outside", "url": outside.url, "engine": "vllm", "priority": 900}
        for body in (safe, {**cheap, "labels": {"trust": "low"}}):
            answer = admin.post("/admin/backends/register", json=body)
            assert answer.status_code == 201, answer.text
        for name in ("inside", "outside"):
            wait_for(partial(is_ready, admin, name), what=name)
        edited = admin.patch(f"/admin/groups/{group}", json={"upstreams": ALLOWED})
        assert edited.status_code == 200, edited.text
        assert edited.json()["upstreams"] == ALLOWED
        yield Hospital(admin, clinic, location, group, outside)


def is_ready(admin: httpx2.Client, name: str) -> bool:
    return bool(admin.get(f"/admin/backends/{name}").json()["status"] == "ready")


def chat(model: str = "echo", **fields: Any) -> tuple[str, dict[str, Any]]:
    return "/v1/chat/completions", {"model": model, "messages": script(text="secret", **fields)}


REQUESTS: list[tuple[str, dict[str, Any]]] = [
    chat(),
    (chat()[0], {**chat()[1], "stream": True}),
    ("/v1/completions", {"model": "echo", "prompt": json.dumps({"text": "secret"})}),
    ("/v1/embeddings", {"model": "echo-embedding", "input": "secret"}),
    ("/v1/responses", {"model": "echo", "input": json.dumps({"text": "secret"})}),
    ("/v1/messages", {"model": "echo", "max_tokens": 9, "messages": script(text="secret")}),
    ("/v1/messages/count_tokens", {"model": "echo", "messages": script(text="secret")}),
    ("/api/chat", {"model": "echo", "messages": script(text="secret"), "stream": False}),
    ("/api/embed", {"model": "echo-embedding", "input": "secret"}),
    ("/v1/images/generations", {"model": "echo-diffusion", "prompt": "secret", "size": "16x16"}),
]


def test_no_route_sends_a_prompt_to_an_upstream_outside_the_policy(hospital: Hospital) -> None:
    # whom nothing forbids it gets the preferred one
    free = hospital.admin.post(*chat()[:1], json=chat()[1])
    assert free.json()["choices"][0]["message"]["content"] == "whole"
    hospital.outside.asked.clear()
    for path, body in REQUESTS:
        answer = hospital.clinic.post(path, json=body)
        assert answer.status_code == 200, (path, answer.text)
    assert hospital.outside.asked == []


def test_neither_a_failure_nor_a_drain_moves_a_prompt_outside_the_policy(
    hospital: Hospital,
) -> None:
    path, body = chat(fail_after=0, error={"status": 500, "message": "broken"})
    for stream in (False, True):
        failed = hospital.clinic.post(path, json={**body, "stream": stream})
        assert failed.status_code >= 500
    canary = {"model": "shared", "targets": [
        {"model": "echo", "percent": 50}, {"model": "cloud", "percent": 50},
    ]}  # fmt: skip
    hospital.outside.models.append({**MODEL, "id": "cloud"})
    names = "/admin/backends/outside"
    wait_for(lambda: "cloud" in hospital.admin.get(names).json()["models"], what="the model")
    assert hospital.admin.post("/admin/canaries", json=canary).status_code == 201
    hospital.outside.asked.clear()
    for number in range(12):
        session = {"x-session-id": str(number)}
        shared = hospital.clinic.post(path, json=chat("shared")[1], headers=session)
        assert shared.status_code == 200, shared.text
        assert shared.json()["model"] == "echo"
    assert hospital.admin.post("/admin/backends/inside/drain").status_code == 200
    for path_, body_ in REQUESTS[:4]:
        # it may become available again, so it is not a refusal by the policy
        assert hospital.clinic.post(path_, json=body_).status_code == 503
    assert hospital.outside.asked == []


def test_a_refusal_names_the_policy_and_follows_its_changes(hospital: Hospital) -> None:
    path, body = chat()
    hospital.allow(trust="low")
    refused = hospital.clinic.post(path, json=body)
    assert refused.status_code == 403
    error = refused.json()["error"]
    assert error["code"] == "upstream_policy"
    assert "(site=local trust=high,medium)" in error["message"]
    assert "outside" not in error["message"]  # no name of an upstream
    assert hospital.outside.asked == []
    hospital.allow(trust="medium")
    assert hospital.clinic.post(path, json=body).status_code == 200
    group = f"/admin/groups/{hospital.group}"
    assert hospital.admin.patch(group, json={"upstreams": None}).status_code == 200

    def is_free() -> bool:
        answer = hospital.clinic.post(path, json=body).json()
        return bool(answer["choices"][0]["message"]["content"] == "whole")

    wait_for(is_free, what="the end of the policy")


def test_a_batch_follows_the_policy_of_the_moment_in_which_it_runs(hospital: Hospital) -> None:
    path, body = chat()
    line = {"custom_id": "a", "method": "POST", "url": path, "body": body}
    file = hospital.clinic.post(
        "/v1/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", json.dumps(line))}
    )
    assert file.status_code == 200, file.text
    made = hospital.clinic.post(
        "/v1/batches",
        json={"input_file_id": file.json()["id"], "endpoint": path, "completion_window": "24h"},
    )
    assert made.status_code == 200, made.text
    at = f"/v1/batches/{made.json()['id']}"
    wait_for(lambda: hospital.clinic.get(at).json()["status"] == "completed", what="the batch")
    assert hospital.clinic.get(at).json()["request_counts"]["completed"] == 1
    assert hospital.outside.asked == []


def test_wrong_labels_and_rules_are_refused_by_name(hospital: Hospital) -> None:
    def refused(answer: httpx2.Response) -> str:
        assert answer.status_code == 400, answer.text
        return str(answer.json()["error"]["message"])

    edit = "/admin/backends/inside"
    assert "'labels' has the label 'Bad'" in refused(
        hospital.admin.patch(edit, json={"labels": {"Bad": "x"}})
    )
    assert "'external' is true" in refused(
        hospital.admin.patch(edit, json={"external": True, "labels": {"site": "local"}})
    )
    group = f"/admin/groups/{hospital.group}"
    for rules, problem in (({"site": []}, "0 values"), ({"site": ["a b"]}, "the value 'a b'")):
        assert problem in refused(hospital.admin.patch(group, json={"upstreams": rules}))
    shown = hospital.admin.get("/admin/backends/outside").json()
    assert shown["labels"] == {"site": "local", "trust": "low"}


def test_the_command_line_sets_labels_and_policies(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRITON_FRONTEND_DATABASE_URL", f"sqlite:///{hospital.location.file}")
    monkeypatch.setenv("TRITON_FRONTEND_BACKEND_NETWORKS", "127.0.0.0/8")
    command = ["backends", "set", "outside", "--label", "trust=high", "--label", "region=eu"]
    assert gateway_main(command) == 0
    edit = ["groups", "edit", "clinic", "--upstreams", "region=eu,us", "trust=high"]
    assert gateway_main(edit) == 0
    path, body = chat()

    def moved() -> bool:
        answer = hospital.clinic.post(path, json=body)
        return "whole" in answer.text

    wait_for(moved, what="the new policy")
    assert gateway_main(["groups", "edit", "clinic", "--upstreams", "any"]) == 0
    assert hospital.admin.get(f"/admin/groups/{hospital.group}").json()["upstreams"] is None
    capsys.readouterr()
    assert gateway_main(["groups", "edit", "clinic", "--upstreams", "region"]) == 2
    assert "'upstreams'" in capsys.readouterr().err
