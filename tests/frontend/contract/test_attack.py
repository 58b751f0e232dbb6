"""What an attacker tries on the accounts API: every route as everybody, with the ids of others.

Nothing here names a route: all are of the route table, so that a new one is covered.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from frontend.accounts.roles import GRANTABLE
from frontend.domain.identity import Permission
from frontend.http.routing import Route
from tests.frontend.contract.test_admin import is_admin_page, routes
from tests.support.campus import HIDDEN, NOBODY, OUTSIDE, Answer, Campus, Person, run_campus
from tests.support.databases import Databases

pytestmark = pytest.mark.timeout(900)
_UNDECLARED = (
    "id", "role", "organisation_id", "group_id", "user_id", "permissions", "weight", "digest",
    "password", "created_at", "created_at_us", "disabled_at_us", "built_in", "status", "credits",
    "credits_micro", "balance_micro", "used", "decided_by", "owner_id", "admin", "scope_id",
    "__class__", "expires_at_us", "quota_id", "next_plan_id", "Role", "role ",
)  # fmt: skip
_TEXTS = (
    "\0", "\ud800", "x" * 70_000, "\u202eadmin", "' OR 1=1 --", "../../etc/passwd", "{{7*7}}",
    "=cmd|' /C calc'!A0", "", "ａｄｍｉｎ", "<script>", "a\nb", "%00",
)  # fmt: skip
_NUMBERS = ("1.5", "1e400", "NaN", "-Infinity", "true", '"1"', "9223372036854775808", "[]", "{}")
"""None of them is an integer that a field may be. JSON has no NaN; Python's would be sent as it."""
_OTHERS = {
    "string": ('"1"', '"٣"', '"-1"', '"1e400"'),
    "integer": ("1", "-1"),
    "number": ("1.5", "-0.0", "1e-400"),
    "boolean": ("true",),
    "array": ("[]", "[1]"),
    "object": ("{}", '{"a": {"b": [1]}}'),
}
"""Values by their types in JSON Schema; the digit in one of them is an Arabic one."""
_NEVER = (
    "1e400",
    "-1e400",
    "NaN",
    "Infinity",
    "[" * 2000 + "]" * 2000,
    '{"a":' * 900 + "1" + "}" * 900,
)
_READING = ("GET", "HEAD")
_MEMBER = {Permission.PUBLIC, Permission.INFER, Permission.SELF}
_MOST = 65_536


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def campus(
    request: pytest.FixtureRequest,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Campus]:
    location = databases.sqlite() if request.param == "sqlite" else databases.postgres()
    with run_campus(location, tmp_path_factory.mktemp("campus")) as running:
        yield running


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[Route]:
    """Every route that asks who is there."""
    folder = tmp_path_factory.mktemp("table")
    return [one for one in routes(folder) if one.permission is not Permission.PUBLIC]


def paths(campus: Campus, route: Route) -> list[str]:
    """The route's path with an id of each object that its list has, and with one that is not."""
    if "{" not in route.path:
        return [route.path]
    before = route.path.partition("/{")[0]
    ids = [*campus.listed(before)[:2], "absent"] if before.startswith("/admin") else ["absent"]
    return [re.sub(r"\{\w+(:path)?\}", one, route.path) for one in ids]


def may(person: Person, route: Route) -> bool:
    if is_admin_page(route):
        allowed = bool(person.permissions - _MEMBER)
    else:
        allowed = route.permission in person.permissions
    return allowed and (person.writes or route.method in _READING)


def check_discloses_nothing(campus: Campus, answer: Answer, *own: str) -> None:
    """Neither an object of somebody else nor anything secret is in the answer."""
    shown = f"{answer.text} {answer.headers}"
    for name, value in campus.ids.items():
        assert name in own or value not in shown, (name, answer.url, shown)
    assert OUTSIDE not in shown, shown
    assert HIDDEN not in shown, shown
    check_keeps_secrets(campus, shown)


def check_keeps_secrets(campus: Campus, shown: str) -> None:
    found = [secret for secret in campus.secrets if secret in shown]
    assert not found, (found, shown[:2000])


def test_who_may_not_use_a_route_gets_nothing_and_changes_nothing(
    campus: Campus, table: list[Route]
) -> None:
    asked = [(route, path) for route in table for path in paths(campus, route)]
    for person in campus.people:
        before, refusals = campus.dump(), 0
        for route, path in asked:
            if may(person, route):
                continue
            body = None if route.method in (*_READING, "DELETE") else {}
            answer = campus.ask(person, route.method, path, body)
            # wrong keys of one owner are slowed down after some
            wanted = (403,) if person.known else (401, 429)
            assert answer.status_code in wanted, (person.name, route, path, answer.text)
            check_discloses_nothing(campus, answer)
            refusals += 1
        assert campus.dump() == before, person.name
        assert refusals or person.name == "admin", person.name


def test_a_member_sees_and_changes_the_own_account_alone(
    campus: Campus, table: list[Route]
) -> None:
    own_routes = [one for one in table if one.permission is Permission.SELF and not one.page]
    lists = {
        route.path
        for route in table
        if (route.method, route.path[:6]) == ("GET", "/admin")
        and not (route.page or "{" in route.path or "live" in route.path)
    }
    foreign = {one for path in lists for one in campus.listed(path)[:20]} | {*campus.ids.values()}
    assert len(foreign) > 40
    before = campus.dump()
    for name, owner in (("student",) * 2, ("session-member", "student"), ("only-self",) * 2):
        person, own_key = campus.of(name), campus.keys[owner].split("-")[1]
        for route in own_routes:
            if "{" in route.path:
                for one in foreign - {own_key}:
                    path = re.sub(r"\{\w+\}", one, route.path)
                    body = {} if route.method in ("POST", "PATCH") else None
                    answer = campus.ask(person, route.method, path, body)
                    # the id of a record in the audit is a number
                    assert answer.status_code in (404, 400), (route, path, answer.text)
                    shown = answer.text.replace(one, "")
                    assert HIDDEN not in shown
                    assert OUTSIDE not in shown
            elif route.method == "GET":
                answer = campus.ask(person, "GET", route.path)
                assert answer.status_code == 200, (route, answer.text)
                check_discloses_nothing(campus, answer, owner)
    assert campus.dump() == before


def test_no_answer_has_a_secret_in_it(campus: Campus, table: list[Route]) -> None:
    """Administrators read everything that there is to read, with every id that a list has."""
    read = 0
    with httpx2.Client() as http:
        for route in table:
            if route.method != "GET" or route.permission is Permission.INFER:
                continue
            before = route.path.partition("/{")[0]
            ids = [*campus.listed(before), *campus.ids.values()] if "{" in route.path else [""]
            for one in ids:
                text = _begin(campus, http, re.sub(r"\{\w+(:path)?\}", one, route.path))
                check_keeps_secrets(campus, text)
                read += 1
    assert read > 100


def _begin(campus: Campus, http: httpx2.Client, path: str) -> str:
    """An answer, of a stream its beginning."""
    assert campus.gateway is not None
    headers = campus.of("admin").headers
    with http.stream("GET", campus.gateway.url + path, headers=headers) as answer:
        assert answer.status_code < 500 or "/models" in path, (path, answer.status_code)
        text = f"{answer.headers}"
        for part in answer.iter_text():
            text += part
            if "event-stream" in answer.headers["content-type"] or len(text) > _MOST:
                break
    return text


def test_every_permission_has_a_caller_and_routes(campus: Campus, table: list[Route]) -> None:
    """So that none of the tests above is empty."""
    assert {f"only-{name}" for name in GRANTABLE} <= {one.name for one in campus.people}
    assert {route.permission.value for route in table} == set(GRANTABLE)
    assert [one.name for one in campus.people if one.known and one.permissions == NOBODY]


@dataclass(frozen=True)
class Write:
    """A route that takes a body, and the schema of it."""

    method: str
    path: str
    fields: dict[str, Any]
    body: dict[str, Any]
    """A value for each field that must be there."""


@pytest.fixture(scope="module")
def writes(campus: Campus) -> list[Write]:
    """Of the OpenAPI document, which is derived of the declarations that read the bodies."""
    document = campus.ask("admin", "GET", "/docs/api").json()
    found = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path.startswith(("/admin", "/me", "/key-requests")) and "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                schema = _resolved(document, schema)
                fields = {
                    name: _resolved(document, one) for name, one in schema["properties"].items()
                }
                found.append(Write(method.upper(), path, fields, _a_value(document, schema)))
    assert len(found) > 30
    return found


def _resolved(document: Any, schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _types(schema: dict[str, Any]) -> set[str]:
    given = schema.get("type", [])
    own = {given} if isinstance(given, str) else {*given}
    return own.union(*(_types(one) for one in schema.get("anyOf", [])))


def _a_value(document: Any, schema: dict[str, Any]) -> Any:
    """One that the schema allows."""
    schema, kinds = _resolved(document, schema), _types(_resolved(document, schema))
    if kinds & {"integer", "number"}:
        return 1
    if "array" in kinds:
        return [_a_value(document, schema["items"])] if schema.get("minItems") else []
    if "object" in kinds:
        properties = schema.get("properties", {})
        return {name: _a_value(document, properties[name]) for name in schema.get("required", [])}
    return True if "boolean" in kinds else "x"


def _least(schema: dict[str, Any]) -> float:
    return max(schema.get("minimum", -9), *map(_least, schema.get("anyOf", [])), -9)


def test_no_field_can_be_set_that_is_not_declared(campus: Campus, writes: list[Write]) -> None:
    before = campus.dump()
    for one in writes:
        path = _with_id(campus, one.path)
        for name in _UNDECLARED:
            if name not in one.fields:
                answer = campus.ask("admin", one.method, path, one.body | {name: "admin"})
                assert answer.status_code == 400, (one.method, path, name, answer.text)
                assert answer.json()["error"]["param"] == name, (path, answer.text)
    assert campus.dump() == before


def test_odd_values_are_refused_by_name_or_stored_as_they_are(
    campus: Campus, writes: list[Write]
) -> None:
    """What a driver or the database cannot take must be found before it is asked."""
    for one in writes:
        path = _with_id(campus, one.path)
        for name, schema in one.fields.items():
            kinds, rest = _types(schema), dict(one.body)
            rest.pop(name, None)
            given = [json.dumps(text) for text in _TEXTS] if "string" in kinds else []
            if kinds <= {"integer", "null"}:
                given += [*_NUMBERS, *["-1"] * (_least(schema) >= 0)]
            for value in given:
                others = json.dumps(rest)[1:-1]
                comma = ", " if others else ""
                body = f'{{{others}{comma}"{name}": {value}}}'.encode()
                answer = campus.ask("admin", one.method, path, body)
                # no server is behind this gateway
                handled = answer.status_code < 500 or "backend_unavailable" in answer.text
                assert handled, (one.method, path, body[:200], answer.text)
                check_keeps_secrets(campus, answer.text)
                if "string" not in kinds:
                    assert answer.status_code == 400, (one.method, path, body, answer.text)
                    assert not answer.json()["error"]["param"] or (
                        name in answer.json()["error"]["param"]
                    ), (path, body, answer.text)


def test_values_of_other_types_are_refused_and_change_nothing(
    campus: Campus, writes: list[Write]
) -> None:
    before, sent = campus.dump(), 0
    for one in writes:
        path = _with_id(campus, one.path)
        for name, schema in one.fields.items():
            kinds = _types(schema)
            if not kinds:
                continue
            if "number" in kinds:
                kinds.add("integer")
            wrong = [text for kind, texts in _OTHERS.items() if kind not in kinds for text in texts]
            rest = {key: value for key, value in one.body.items() if key != name}
            others = "".join(f"{json.dumps(key)}: {json.dumps(rest[key])}, " for key in rest)
            right = json.dumps(one.body.get(name))
            bodies = [f'{{{others}"{name}": {value}}}' for value in (*wrong, *_NEVER)]
            # of two values for one name, the last one counts
            bodies.append(f'{{{others}"{name}": {right}, "{name}": {_NEVER[0]}}}')
            for body in bodies:
                answer = campus.ask("admin", one.method, path, body.encode())
                assert answer.status_code == 400, (one.method, path, body[:200], answer.text)
                param = answer.json()["error"]["param"]
                assert not param or name in param, (path, body[:200], answer.text)
                sent += 1
    assert sent > 500
    assert campus.dump() == before


def test_odd_ids_and_cursors_find_nothing(campus: Campus, table: list[Route]) -> None:
    for text in _TEXTS:
        odd = quote(text[:3000].encode("utf-8", "surrogatepass"), safe="") or "%20"
        for route in table:
            if route.method != "GET" or not route.path.startswith(("/admin", "/me")):
                continue
            if "{" in route.path:
                answer = campus.ask("admin", "GET", re.sub(r"\{\w+(:path)?\}", odd, route.path))
                assert 400 <= answer.status_code < 500, (route.path, text[:20], answer.text)
            elif not (route.page or "live" in route.path):
                for name in ("after", "limit", "search", "user_id", "role", "start", "tz"):
                    answer = campus.ask("admin", "GET", f"{route.path}?{name}={odd}")
                    assert answer.status_code < 500, (route.path, name, text[:20], answer.text)
                    check_keeps_secrets(campus, answer.text)


def _with_id(campus: Campus, path: str) -> str:
    listed = campus.listed(path.partition("/{")[0]) if path.startswith("/admin") else []
    return re.sub(r"\{\w+\}", (listed or ["absent"])[-1], path)


def test_nobody_prepares_an_account_for_the_owner_of_an_address(
    databases: Databases, tmp_path: Path
) -> None:
    """Where an address opens an account, who signs in with it would get the attacker's."""
    flags = ["--oidc-issuer", "https://login.invalid", "--oidc-client-id", "x"]
    for link, status in (("verified-email", 403), ("signed-in", 200)):
        folder = tmp_path / link
        folder.mkdir()
        given = (*flags, "--oidc-link", link)
        with run_campus(databases.sqlite(), folder, *given) as campus:
            for path, person in (("/me", "student"), ("/me", "admin")):
                mine = {"email": f"{person}@example.org"}
                answer = campus.ask(person, "PATCH", path, mine)
                assert answer.status_code == status, answer.text
            assert campus.ask("student", "PATCH", "/me", {"email": None}).status_code == 200
            request = campus.ids["request"]
            path = f"/admin/key-requests/{request}/approve"
            assert campus.ask("admin", "POST", path, {}).status_code == 200
            user = campus.ask("admin", "GET", f"/admin/key-requests/{request}").json()["user_id"]
            email = campus.ask("admin", "GET", f"/admin/users/{user}").json()["email"]
            assert email == (None if link == "verified-email" else "hidden@example.org")
