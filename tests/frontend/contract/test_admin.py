"""The accounts API on a real gateway: every route with every role."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from frontend.accounts.roles import SEEDED
from frontend.domain.identity import Permission
from frontend.http.routing import Route
from frontend.store.database import Database
from frontend.store.location import Location
from tests.support.accounts import add, opened
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import wait_for
from tests.support.routes import address, routes

SECRET = re.compile(r"tt-[a-z0-9]{16}-[0-9A-Za-z]{43}")


@dataclass
class Office:
    """A gateway with accounts: a key for each role, and the users' ids."""

    gateway: Gateway
    keys: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def ask(
        self, method: str, path: str, role: str = "admin", body: Any = None, **headers: str
    ) -> httpx2.Response:
        if key := self.keys.get(role, role):
            headers["authorization"] = f"Bearer {key}"
        # as a proxy on this machine would pass it on: some routes need no key for local callers
        headers["x-forwarded-for"] = "192.0.2.1"
        url = self.gateway.url + path
        return httpx2.request(method, url, json=body, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def office(
    echo_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Office]:
    location = databases.sqlite()
    keys, ids = asyncio.run(_staffed(location))
    flags = ["--require-keys", "--database-url", f"sqlite:///{location.file}"]
    log = tmp_path_factory.mktemp("office") / "log"
    with run_gateway(echo_triton.grpc_address, log, *flags) as gateway:
        yield Office(gateway, keys, ids)
        text = log.read_text()
        assert not SECRET.search(text), "no key gets into the log"


async def _staffed(location: Location) -> tuple[dict[str, str], dict[str, str]]:
    database = Database(location)
    directory = await opened(database)
    keys, ids = {}, {}
    for role in SEEDED:
        user, keys[role] = await add(directory, f"a-{role}", role)
        ids[role] = user.id
    await database.close()
    return keys, ids


def is_admin_page(route: Route) -> bool:
    """A page is for several permissions, so it refuses members by itself."""
    return route.page and route.path.startswith("/admin")


def test_every_route_with_every_role(office: Office, tmp_path: Path) -> None:
    """A role without the route's permission gets 403, also for what does not exist."""
    for route in routes(tmp_path):
        if route.permission is Permission.PUBLIC:
            continue
        path = address(route)
        body = {} if route.method in ("POST", "PATCH", "PUT") else None
        for name, role in SEEDED.items():
            allowed = route.permission in role.permissions
            if is_admin_page(route):
                allowed = bool(role.permissions - SEEDED["faculty"].permissions)
            if allowed and name != "student":
                continue  # what is allowed is tried once; other tests do the rest
            status = office.ask(route.method, path, name, body).status_code
            assert (status == 403) is not allowed, (route, name, status)
        unknown = office.ask(route.method, path, "", body).status_code
        assert unknown == 401, (route, unknown)


def test_every_admin_route_is_denied_by_default(tmp_path: Path) -> None:
    for route in routes(tmp_path):
        if route.path.startswith("/admin") and not is_admin_page(route):
            member = SEEDED["faculty"].permissions
            assert route.permission not in member, route
        if route.path.startswith("/me"):
            assert route.permission is not Permission.PUBLIC, route


def test_a_user_is_made_used_and_deleted(office: Office) -> None:
    organisation = office.ask("POST", "/admin/organisations", body={"name": "lab"}).json()
    parent = {"name": "team", "organisation_id": organisation["id"], "weight": 2}
    group = office.ask("POST", "/admin/groups", body=parent).json()
    body = {"name": "ada", "role": "staff", "group_id": group["id"], "email": "a@example.org"}
    made = office.ask("POST", "/admin/users", body=body)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    user = made.json()
    assert {**body, "id": user["id"]}.items() <= user.items()
    key = office.ask("POST", "/admin/keys", body={"user_id": user["id"], "name": "ci"}).json()
    me = office.ask("GET", "/me", key["key"]).json()
    assert (me["id"], me["key_id"], me["weight"]) == (user["id"], key["id"], 2)
    assert me["organisation_id"] == organisation["id"]
    hello = {"model": "echo", "messages": script(text="a b")}
    assert office.ask("POST", "/v1/chat/completions", key["key"], hello).status_code == 200
    listed = office.ask("GET", f"/admin/keys?user_id={user['id']}").json()
    assert [one["id"] for one in listed["data"]] == [key["id"]]
    assert "key" not in listed["data"][0]
    assert office.ask("DELETE", f"/admin/users/{user['id']}").json()["deleted"] is True
    refused = lambda: office.ask("GET", "/me", key["key"]).status_code == 401  # noqa: E731
    wait_for(refused, what="the refusal of a deleted user's key")
    for path in (f"/admin/users/{user['id']}", f"/admin/keys/{key['id']}"):
        assert office.ask("GET", path).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "param"),
    [
        ("POST", "/admin/users", {"name": "x", "id": "1"}, "id"),
        ("POST", "/admin/users", {"name": "x", "password": "secret"}, "password"),
        ("POST", "/admin/users", {"name": "x", "permissions": ["load"]}, "permissions"),
        ("POST", "/admin/users", {}, "name"),
        ("POST", "/admin/users", {"name": 5}, "name"),
        ("POST", "/admin/users", {"name": "x", "role": "root"}, "role"),
        ("POST", "/admin/roles", {"name": "x", "permissions": ["root"]}, "permissions"),
        ("POST", "/admin/roles", {"name": "x", "permissions": [], "weight": 0}, "weight"),
        ("POST", "/admin/groups", {"name": "x", "weight": 10**9}, "weight"),
        ("POST", "/me/keys", {"user_id": "x"}, "user_id"),
        ("POST", "/me/keys", {"digest": "x"}, "digest"),
        ("POST", "/me/keys", {"networks": ["x"]}, "networks"),
        ("POST", "/me/keys", {"expires_at": 1}, "expires_at"),
        ("POST", "/me/keys", {"budget": {"tokens": -1}}, "budget.tokens"),
        ("POST", "/me/keys", {"budget": {"tokens": 1, "period": "x"}}, "budget.period"),
        ("POST", "/me/keys", {"budget": {}}, "budget.tokens"),
        ("POST", "/me/keys", {"models": ["m"] * 101}, "models"),
        ("PATCH", "/me", {"role": "admin"}, "role"),
        ("PATCH", "/me", {"group_id": "x"}, "group_id"),
        ("GET", "/admin/users?role=staff&limit=0", None, "limit"),
        ("GET", "/admin/users?limit=201", None, "limit"),
        ("GET", "/admin/users?order=name", None, "order"),
        ("GET", "/admin/users?role=a&role=b", None, "role"),
        ("GET", "/admin/users?role=%00", None, "role"),
        ("GET", "/me/keys?user_id=x", None, "user_id"),
    ],
)
def test_a_field_that_cannot_be_set_is_named(
    office: Office, method: str, path: str, body: Any, param: str
) -> None:
    answer = office.ask(method, path, "admin", body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_objects_of_others_do_not_exist(office: Office) -> None:
    made = office.ask("POST", "/me/keys", "student").json()
    path = f"/me/keys/{made['id']}"
    for method, tail, body in (
        ("GET", "", None),
        ("PATCH", "", {"name": "mine"}),
        ("DELETE", "", None),
        ("POST", "/rotate", None),
    ):
        assert office.ask(method, path + tail, "staff", body).status_code == 404
    assert office.ask("GET", path, "student").json()["name"] == ""
    assert office.ask("DELETE", path, "student").status_code == 200


def test_a_key_is_rotated_and_a_repeated_request_gets_the_same(office: Office) -> None:
    made = office.ask("POST", "/me/keys", "faculty", {"name": "ci"}).json()
    path, once = f"/me/keys/{made['id']}/rotate", {"idempotency-key": "try-1"}
    body = {"grace_s": 60}
    first, second = (office.ask("POST", path, made["key"], body, **once) for _ in range(2))
    assert first.json() == second.json()
    assert first.json()["id"] == made["id"]
    assert first.json()["key"] != made["key"]
    other = office.ask("POST", path, made["key"], {"grace_s": 61}, **once)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")
    for key in (made["key"], first.json()["key"]):
        assert office.ask("GET", "/me", key).json()["key_id"] == made["id"]
    assert "key" not in office.ask("GET", f"/me/keys/{made['id']}", "faculty").json()
    assert office.ask("POST", path, "faculty", {"grace_s": 10**7}).status_code == 400


def test_a_scoped_key_is_limited(office: Office) -> None:
    body = {"models": ["echo"], "endpoints": ["/v1/*"]}
    key = office.ask("POST", "/me/keys", "staff", body).json()["key"]
    hello: dict[str, Any] = {"model": "echo", "messages": script(text="a b")}
    chat = "/v1/chat/completions"
    assert office.ask("POST", chat, key, hello).status_code == 200
    other = office.ask("POST", "/v1/embeddings", key, {"model": "echo-embedding", "input": "a"})
    assert (other.status_code, other.json()["error"]["code"]) == (404, "model_not_found")
    models = [one["id"] for one in office.ask("GET", "/v1/models", key).json()["data"]]
    assert models == ["echo"]
    assert office.ask("GET", "/v1/models/echo-embedding", key).status_code == 404
    for path in ("/me", "/me/keys", "/api/tags"):
        assert office.ask("GET", path, key).status_code == 403
    body = {"networks": ["192.0.2.0/24"]}
    key = office.ask("POST", "/me/keys", "staff", body).json()["key"]
    refused = office.ask("POST", chat, key, hello)
    assert refused.json()["error"]["code"] == "source_not_allowed", "the header is not trusted"


def test_pages_follow_each_other(office: Office) -> None:
    for number in range(3):
        office.ask("POST", "/admin/groups", body={"name": f"page{number}"})
    seen: list[str] = []
    after = ""
    while True:
        page = office.ask("GET", f"/admin/groups?limit=2&after={after}").json()
        seen += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        after = page["next_after"]
    assert len(seen) == len(set(seen)) >= 4
    assert seen == sorted(seen)


def test_a_key_is_requested_and_approved(office: Office) -> None:
    form = {"name": "newcomer", "email": "new@example.org", "reason": "my thesis"}
    made = httpx2.post(f"{office.gateway.url}/key-requests", json=form)
    assert made.status_code == 202
    request = made.json()
    path = f"/key-requests/{request['id']}"
    assert office.ask("GET", path, request["key"]).json()["status"] == "pending"
    for somebody in ("admin", "tt-guess", ""):
        assert office.ask("GET", path, somebody).status_code == 404
    assert office.ask("GET", "/me", request["key"]).status_code == 401
    listed = office.ask("GET", "/admin/key-requests?status=pending").json()["data"]
    assert [one["id"] for one in listed] == [request["id"]]
    assert "key" not in listed[0]
    approved = office.ask("POST", f"/admin{path}/approve", body={"role": "student"})
    assert approved.json()["status"] == "approved"
    works = lambda: office.ask("GET", "/me", request["key"]).status_code == 200  # noqa: E731
    wait_for(works, what="the approved key")
    assert office.ask("GET", "/me", request["key"]).json()["name"] == "newcomer"
    again = office.ask("POST", f"/admin{path}/approve", body={})
    assert again.status_code == 409


def test_a_password_is_reset_and_changed(office: Office) -> None:
    path = f"/admin/users/{office.ids['service']}/password"
    password = office.ask("POST", path).json()["password"]
    change = {"current_password": password, "new_password": "correct horse battery"}
    assert office.ask("POST", "/me/password", "service", change).status_code == 200
    assert office.ask("POST", "/me/password", "service", change).status_code == 403
    assert "password" not in office.ask("GET", f"/admin/users/{office.ids['service']}").json()
    events = office.ask("GET", f"/admin/events?target_id={office.ids['service']}").text
    assert password not in events
    assert "users.change_password" in events
