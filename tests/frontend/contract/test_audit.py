"""The audit of a real gateway, over HTTP: one record for each request, whatever its end."""

import asyncio
import base64
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from frontend.store.database import Database
from frontend.store.location import Location
from tests.frontend.contract.conftest import posted
from tests.support.accounts import add, opened
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import wait_for


@dataclass
class Office:
    """A gateway with groups of each policy."""

    gateway: Gateway
    location: Location
    admin: str
    groups: dict[str, str] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def ask(
        self, method: str, path: str, key: str | None = None, body: Any = None
    ) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.admin if key is None else key}"}
        return httpx2.request(
            method, self.gateway.url + path, json=body, headers=headers, timeout=30
        )

    def chat(self, key: str, text: str, **more: Any) -> httpx2.Response:
        message = {"role": "user", "content": text}
        return self.ask(
            "POST", "/v1/chat/completions", key, {"model": "echo", "messages": [message], **more}
        )

    def search(self, **filters: Any) -> list[dict[str, Any]]:
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        answer = self.ask("GET", f"/admin/audit/search?{query}")
        assert answer.status_code == 200, answer.text
        data: list[dict[str, Any]] = answer.json()["data"]
        return data

    def one(self, **filters: Any) -> dict[str, Any]:
        """The only record that matches, once it is written."""
        wait_for(lambda: self.search(**filters), what=f"a record of {filters}")
        (record,) = self.search(**filters)
        return record

    def join(self, name: str, **policy: Any) -> None:
        """Adds a group and a user of the same name."""
        group = self.ask("POST", "/admin/groups", body={"name": name, **policy})
        assert group.status_code == 201, group.text
        self.groups[name] = group.json()["id"]
        user = {"name": name, "group_id": self.groups[name]}
        self.users[name] = self.ask("POST", "/admin/users", body=user).json()["id"]
        key = self.ask("POST", "/admin/keys", body={"user_id": self.users[name]})
        self.keys[name] = key.json()["key"]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def office(
    request: pytest.FixtureRequest,
    echo_triton: EchoTriton,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Office]:
    location = databases.sqlite() if request.param == "sqlite" else databases.postgres()
    admin = asyncio.run(_with_admin(location))
    flags = ("--require-keys", "--database-url", _url(location))
    log = tmp_path_factory.mktemp("audit") / "log"
    with run_gateway(echo_triton.grpc_address, log, *flags) as gateway:
        made = Office(gateway, location, admin)
        made.join("quiet", audit="none")
        made.join("plain")
        made.join("whole", audit="full", audit_strict=True)
        yield made


def _url(location: Location) -> str:
    return f"sqlite:///{location.file}" if location.is_sqlite else location.url.render_as_string()


async def _with_admin(location: Location) -> str:
    database = Database(location)
    _, key = await add(await opened(database), "chief", "admin")
    await database.close()
    return key


def test_a_record_has_who_what_and_how_it_ended_but_no_text(office: Office) -> None:
    answer = office.chat(office.keys["plain"], "secret-prompt-of-plain", max_tokens=5)
    assert answer.status_code == 200
    found = office.one(user_id=office.users["plain"], status=200)
    used = answer.json()["usage"]
    assert (found["user_name"], found["group_id"]) == ("plain", office.groups["plain"])
    assert office.keys["plain"].split("-")[-1].startswith(found["key_id"][:4]) or found["key_id"]
    assert (found["dialect"], found["method"]) == ("openai", "POST")
    assert (found["route"], found["model"]) == ("/v1/chat/completions", "echo")
    assert (found["upstream"], found["decision"], found["ran"]) == ("triton", "allowed", True)
    assert found["prompt_tokens"] == used["prompt_tokens"]
    assert found["completion_tokens"] == used["completion_tokens"]
    assert 0 <= found["queue_s"] <= found["first_token_s"] <= found["duration_s"]
    assert found["address"] == "127.0.0.1"
    assert len(found["digest"]) == 64
    assert found["request_id"] == answer.headers["x-request-id"]
    whole = office.ask("GET", f"/admin/audit/records/{found['id']}")
    assert "request" not in whole.json()
    assert "secret-prompt" not in whole.text


def test_every_end_has_its_record(office: Office) -> None:
    office.join("ends")
    key, user = office.keys["ends"], office.users["ends"]
    for status in (404, 400, 403, 429):
        assert _provoke(office, key, user, status).status_code == status
        found = office.one(user_id=user, status=status)
        assert (found["decision"], found["ran"]) == ("refused", False)
        assert found["error"]
    assert office.ask("GET", "/v1/models", "sk-nobody").status_code == 401
    (wrong, *_) = [one for one in _eventually(office, status=401) if one["route"] == "/v1/models"]
    assert (wrong["user_id"], wrong["decision"]) == ("", "refused")


def test_a_refused_look_at_the_gateway_is_recorded_and_an_allowed_one_is_not(
    office: Office,
) -> None:
    office.join("peeping")
    key, user = office.keys["peeping"], office.users["peeping"]
    paths = {"/admin/status", "/admin/metrics", "/admin/settings", "/admin/live"}
    for path in paths:
        assert office.ask("GET", path, key).status_code == 403
    wait_for(lambda: len(office.search(user_id=user)) == len(paths), what="the records")
    found = office.search(user_id=user)
    assert {one["route"] for one in found} == paths
    assert {(one["decision"], one["status"]) for one in found} == {("refused", 403)}
    assert office.ask("GET", "/admin/status").status_code == 200
    last = office.one(request_id=office.ask("GET", "/v1/models").headers["x-request-id"])
    assert "/admin/status" not in _routes(office, last["user_id"])


def _routes(office: Office, user: str) -> list[str]:
    return [one["route"] for one in office.search(user_id=user, limit=200)]


def test_a_refused_change_is_recorded(office: Office) -> None:
    office.join("refused")
    key, user = office.keys["refused"], office.users["refused"]
    office.ask("POST", "/admin/users", key, {"name": "x"})
    office.ask("POST", "/me/keys", key, {"colour": "red"})
    wait_for(lambda: len(office.search(user_id=user)) == 2, what="both records")
    ends = {(one["route"], one["status"], one["decision"]) for one in office.search(user_id=user)}
    assert ends == {("/admin/users", 403, "refused"), ("/me/keys", 400, "refused")}


def test_a_record_is_found_by_the_id_that_the_answer_has(office: Office) -> None:
    key = office.keys["plain"]
    own = office.chat(key, "x").headers["x-request-id"]
    headers = {"authorization": f"Bearer {key}", "x-request-id": "the-clients-own"}
    body = {"model": "echo", "messages": script(text="x")}
    url = office.gateway.url + "/v1/chat/completions"
    answer = httpx2.post(url, json=body, headers=headers, timeout=30)
    assert answer.headers["x-request-id"] == "the-clients-own"
    assert office.one(request_id=own)["client_id"] == ""
    found = office.one(request_id="the-clients-own")
    assert (found["client_id"], found["status"]) == ("the-clients-own", 200)
    assert office.one(request_id=found["request_id"]) == found


def _provoke(office: Office, key: str, user: str, status: int) -> httpx2.Response:
    match status:
        case 404:
            body = {"model": "nothing", "messages": script()}
            return office.ask("POST", "/v1/chat/completions", key, body)
        case 400:
            return office.ask("POST", "/v1/chat/completions", key, {"model": "echo"})
        case 403:
            return office.ask("GET", "/admin/users", key)
    quota = {"scope_kind": "user", "scope_id": user, "measure": "requests", "period": "day"}
    office.ask("POST", "/admin/quotas", body={**quota, "amount": 0})
    answers: list[httpx2.Response] = []

    def is_refused() -> bool:
        answers.append(office.chat(key, "over"))
        return answers[-1].status_code == 429

    wait_for(is_refused, what="the quota")
    return answers[-1]


def _eventually(office: Office, **filters: Any) -> list[dict[str, Any]]:
    wait_for(lambda: office.search(**filters), what=f"a record of {filters}")
    return office.search(**filters)


def test_a_client_that_goes_away_is_recorded_as_usage_has_it(office: Office) -> None:
    office.join("gone")
    body = {"model": "echo", "messages": script(text="a " * 200, delay_ms=20), "stream": True}
    with posted(office.gateway, body, office.keys["gone"]) as client:
        read = b""
        while b'"content":"a ' not in read:
            part = client.recv(4096)
            assert part, read
            read += part
        assert _running(office) > 0
    found = office.one(user_id=office.users["gone"], status=499)
    assert (found["decision"], found["ran"]) == ("cancelled", True)
    assert found["completion_tokens"] > 0


def _running(office: Office) -> float:
    text = httpx2.get(office.gateway.url + "/metrics").text
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("gateway_requests_running")
    )


def test_a_policy_of_none_keeps_nothing(office: Office) -> None:
    assert office.chat(office.keys["quiet"], "nothing of this").status_code == 200
    assert office.chat(office.keys["plain"], "after it").status_code == 200
    wait_for(lambda: len(office.search(user_id=office.users["plain"])) >= 2, what="the next record")
    assert office.search(user_id=office.users["quiet"]) == []


def test_a_policy_of_full_keeps_text_that_can_be_found(office: Office) -> None:
    key, user = office.keys["whole"], office.users["whole"]
    answer = office.chat(key, json.dumps({"text": "The Answer was Zebra"}), max_tokens=50)
    assert answer.status_code == 200, answer.text
    found = office.one(text="zebra", user_id=user)
    assert office.one(text="ANSWER%20zeb*", status=200)["id"] == found["id"]
    assert office.search(text="zebra", user_id=office.users["plain"]) == []
    assert office.search(text="zebra%20nowhere") == []
    assert office.search(text="zebra", status="4xx") == []
    whole = office.ask("GET", f"/admin/audit/records/{found['id']}").json()
    assert whole["request"]["messages"][0]["content"].endswith('Zebra"}')
    assert "The Answer was Zebra" in whole["answer"]["completions"][0]["text"]
    own = office.ask("GET", f"/me/audit/{found['id']}", key)
    assert own.json()["request"] == whole["request"]
    other = office.ask("GET", f"/me/audit/{found['id']}", office.keys["plain"])
    assert other.status_code == 404
    assert office.ask("GET", "/me/audit", key).json()["data"][-1]["user_id"] == user


def test_images_are_artifacts_by_their_digest(office: Office) -> None:
    picture = b"\x89PNG" + bytes(range(256)) * 4
    url = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "okapi"}]
    body = {"model": "echo", "messages": [{"role": "user", "content": content}]}
    office.ask("POST", "/v1/chat/completions", office.keys["whole"], body)
    found = office.one(text="okapi")
    whole = office.ask("GET", f"/admin/audit/records/{found['id']}").json()
    (artifact,) = whole["artifacts"]
    part = whole["request"]["messages"][0]["content"][0]
    assert part["image_url"]["url"]["sha256"] == artifact["sha256"]
    kept = office.ask("GET", f"/admin/audit/artifacts/{artifact['sha256']}")
    assert kept.content == picture


def test_pages_and_exports_have_every_record_once(office: Office) -> None:
    office.join("many")
    key, user = office.keys["many"], office.users["many"]
    for _ in range(7):
        office.ask("GET", "/v1/models", key)
    wait_for(lambda: len(office.search(user_id=user)) == 7, what="seven records")
    seen, after = [], ""
    while True:
        path = f"/admin/audit/search?user_id={user}&limit=3&after={after}"
        page = office.ask("GET", path).json()
        seen += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        after = page["next_after"]
    assert seen == sorted(set(seen), key=int, reverse=True)
    assert len(seen) == 7
    path = f"/admin/audit/search?user_id={user}&format="
    lines = office.ask("GET", path + "jsonl").text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == seen
    rows = [*csv.DictReader(io.StringIO(office.ask("GET", path + "csv").text))]
    assert [row["id"] for row in rows] == seen
    assert rows[0]["user_name"] == "many"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("status=teapot", "status"), ("status=999", "status"), ("text=%20", "text"),
        ("after=x", "after"), ("start=soon", "start"), ("format=xml", "format"),
        ("start=2030-01-01&end=2020-01-01", "start"), ("content=maybe", "content"),
        ("colour=red", "colour"),
    ],
)  # fmt: skip
def test_a_search_names_what_is_wrong(office: Office, query: str, param: str) -> None:
    answer = office.ask("GET", f"/admin/audit/search?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_the_audit_is_for_those_with_the_permission(office: Office) -> None:
    for path in ("search", "records/1", "artifacts/" + "0" * 64):
        answer = office.ask("GET", f"/admin/audit/{path}", office.keys["plain"])
        assert answer.status_code == 403
    assert office.ask("GET", "/admin/audit/records/1").status_code == 404
    assert office.ask("GET", "/admin/audit/artifacts/..%2Fgateway.db").status_code == 404
