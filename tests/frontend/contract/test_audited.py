"""Every route that administers leaves an event with its author, and every edit can be undone: read
from the table of routes, so that a route that is added needs a step here."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from frontend.domain.identity import Permission
from frontend.store.database import Database
from frontend.store.location import Location
from tests.support.accounts import add, opened
from tests.support.databases import Databases
from tests.support.echo import EchoTriton
from tests.support.gateway import run_gateway
from tests.support.routes import routes, writing

LOADED = {"/admin/models/load", "/admin/models/unload"}
"""Their events are in test_managed_models, which has a Triton of its own."""
OWN = {Permission.SELF, Permission.INFER, Permission.PUBLIC}


@dataclass
class Clerk:
    """An administrator who does everything once."""

    http: httpx2.Client
    user: str
    member: str
    done: set[tuple[str, str]] = field(default_factory=set)

    def newest(self) -> dict[str, Any]:
        page = self.http.get("/admin/events", params={"order": "newest", "limit": 1}).json()
        event: dict[str, Any] = page["data"][0]
        return event

    def do(self, method: str, route: str, id_: str = "", **body: Any) -> Any:
        """Sends a request, and looks for its event."""
        before = self.newest()["id"]
        path = route.replace("{id}", id_)
        sent = None if method == "DELETE" else body
        answer = self.http.request(method, path, json=sent)
        assert answer.status_code in (200, 201), (method, path, answer.text)
        event = self.newest()
        assert event["id"] != before, (method, route)
        assert event["actor_id"] == self.user, event
        self.done.add((method, route))
        return answer.json()

    def edit(self, route: str, id_: str, **body: Any) -> None:
        """Changes an object, undoes this by what its event says, and compares."""
        was = self.state(route, id_)
        self.do("PATCH", route, id_, **body)
        assert self.state(route, id_) != was
        self.undo()
        assert self.state(route, id_) == was

    def undo(self) -> None:
        undo = self.newest()["undo"]
        assert undo is not None, self.newest()
        answer = self.http.request(undo["method"], undo["path"], json=undo["body"])
        assert answer.status_code == 200, answer.text

    def state(self, route: str, id_: str) -> dict[str, Any]:
        shown = self.http.get(route.replace("{id}", id_)).json()
        return {name: value for name, value in shown.items() if name not in CHANGING}


CHANGING = {"revision", "updated_at", "polled_s_ago", "error", "state", "models", "breakers"}


@pytest.fixture
def clerk(echo_triton: EchoTriton, databases: Databases, tmp_path: Path) -> Iterator[Clerk]:
    location = databases.sqlite()
    user, key, member, of_member = asyncio.run(_people(location))
    flags = ["--require-keys", "--database-url", f"sqlite:///{location.file}", "--cache", "asked"]
    flags += ["--backend-networks", "127.0.0.0/8"]
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway:
        headers = {"authorization": f"Bearer {key}"}
        with httpx2.Client(base_url=gateway.url, headers=headers, timeout=60) as http:
            for amount in (5_000_000, 6_000_000):
                asked = httpx2.post(
                    f"{gateway.url}/me/quota-requests",
                    json={"amount": amount, "reason": "more"},
                    headers={"authorization": f"Bearer {of_member}"},
                )
                assert asked.status_code == 201, asked.text
            for name in ("ann", "ben"):
                form = {"name": name, "email": f"{name}@example.org", "reason": "a course"}
                assert httpx2.post(f"{gateway.url}/key-requests", json=form).status_code == 202
            yield Clerk(http, user, member)


async def _people(location: Location) -> tuple[str, str, str, str]:
    database = Database(location)
    directory = await opened(database)
    admin, key = await add(directory, "ada", "admin")
    member, of_member = await add(directory, "tom", "student")
    await database.close()
    return admin.id, key, member.id, of_member


def _accounts(clerk: Clerk) -> None:
    organisation, group = "/admin/organisations/{id}", "/admin/groups/{id}"
    lab = clerk.do("POST", "/admin/organisations", name="lab")["id"]
    clerk.edit(organisation, lab, name="laboratory")
    team = clerk.do("POST", "/admin/groups", name="team", organisation_id=lab)["id"]
    clerk.edit(group, team, weight=5)
    role = clerk.do("POST", "/admin/roles", name="guest", permissions=["self"])["id"]
    clerk.edit("/admin/roles/{id}", role, weight=3)
    user = clerk.do("POST", "/admin/users", name="eve", group_id=team)["id"]
    clerk.edit("/admin/users/{id}", user, display_name="Eve")
    clerk.do("POST", "/admin/users/{id}/password", user)
    clerk.do("DELETE", "/admin/users/{id}/second-factor", user)
    key = clerk.do("POST", "/admin/keys", user_id=user)["id"]
    clerk.edit("/admin/keys/{id}", key, name="laptop")
    clerk.do("POST", "/admin/keys/{id}/rotate", key)
    clerk.do("DELETE", "/admin/keys/{id}", key)
    clerk.do("DELETE", "/admin/users/{id}", user)
    clerk.do("DELETE", group, team)
    clerk.do("DELETE", organisation, lab)
    clerk.do("DELETE", "/admin/roles/{id}", role)
    for path in ("key-requests", "quota-requests"):
        asked = [one["id"] for one in clerk.http.get(f"/admin/{path}").json()["data"]]
        clerk.do("POST", f"/admin/{path}/{{id}}/approve", asked[0])
        clerk.do("POST", f"/admin/{path}/{{id}}/refuse", asked[1], note="not now")


def _limits(clerk: Clerk) -> None:
    tom = {"scope_kind": "user", "scope_id": clerk.member}
    quota = clerk.do("POST", "/admin/quotas", **tom, measure="requests", amount=5)["id"]
    clerk.edit("/admin/quotas/{id}", quota, amount=7)
    clerk.do("POST", "/admin/quotas/{id}/reset", quota)
    clerk.do("DELETE", "/admin/quotas/{id}", quota)
    plan = clerk.do("POST", "/admin/plans", name="research", credits=500)["id"]
    clerk.edit("/admin/plans/{id}", plan, credits=600)
    subscription = clerk.do("POST", "/admin/subscriptions", **tom, plan_id=plan)["id"]
    clerk.do("DELETE", "/admin/subscriptions/{id}", subscription)
    clerk.do("DELETE", "/admin/plans/{id}", plan)
    clerk.do("POST", "/admin/credits", **tom, credits=5, note="for the thesis")
    price = clerk.do("POST", "/admin/prices", model="echo", request=0.1)["id"]
    clerk.do("DELETE", "/admin/prices/{id}", price)


def _service(clerk: Clerk) -> None:
    one, canary = "/admin/backends/{id}", "/admin/canaries/{id}"
    rack = {"name": "rack", "engine": "openai", "url": "http://127.0.0.1:9/v1"}
    upstream = clerk.do("POST", "/admin/backends/register", **rack)["id"]
    clerk.edit(one, upstream, priority=4)
    for verb in ("drain", "disable"):
        was = clerk.state(one, upstream)
        clerk.do("POST", f"{one}/{verb}", upstream)
        clerk.undo()
        assert clerk.state(one, upstream) == was
    clerk.do("POST", f"{one}/disable", upstream)
    clerk.do("POST", f"{one}/enable", upstream)
    clerk.undo()
    clerk.do("POST", f"{one}/refresh", upstream)
    clerk.do("DELETE", one, upstream)
    targets = [{"model": "echo", "percent": 100}]
    trial = clerk.do("POST", "/admin/canaries", model="trial", targets=targets)["id"]
    clerk.edit(canary, trial, min_requests=50)
    clerk.do("POST", f"{canary}/promote", trial, target="echo")
    clerk.do("DELETE", canary, trial)
    clerk.do("POST", "/admin/cache/purge")


def test_every_action_has_an_event_and_edits_are_undone(clerk: Clerk, tmp_path: Path) -> None:
    _accounts(clerk)
    _limits(clerk)
    _service(clerk)
    administering = {
        (one.method, one.path)
        for one in writing(routes(tmp_path))
        if one.permission not in OWN and one.path.startswith("/admin/") and one.path not in LOADED
    }
    assert clerk.done == administering
