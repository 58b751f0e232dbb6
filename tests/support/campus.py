"""Accounts of every kind on a real gateway, what its database holds, and what must never be shown.

Callers, objects and secrets are derived: of the permissions that exist, of the lists that the API
has, and of the columns of all tables, so that what is added later is covered.
"""

import asyncio
import base64
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from select import select as readable
from typing import Any

from sqlalchemy import LargeBinary, select, update

from frontend.accounts.cookies import csrf_of
from frontend.accounts.directory.actor import OPERATOR, Actor
from frontend.accounts.directory.directory import Directory
from frontend.accounts.directory.keys import Budget, NewKey
from frontend.accounts.directory.requests import Form
from frontend.accounts.directory.users import NewUser
from frontend.accounts.passwords import Passwords
from frontend.accounts.roles import GRANTABLE, SEEDED
from frontend.accounts.sessions import PASSWORD, Sessions
from frontend.domain.accounts import User
from frontend.domain.allowances import NewQuota
from frontend.domain.identity import Permission
from frontend.store.database import Database
from frontend.store.location import Location
from frontend.store.records import Range
from frontend.store.tables import audit_contents, files, metadata, responses
from frontend.store.tables import keys as key_rows
from tests.support.accounts import add, opened
from tests.support.databases import url_of
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import PATIENCE_S

NOBODY: frozenset[Permission] = frozenset()
OUTSIDE, HIDDEN = "outside", "hidden"
"""Names that belong to somebody else begin with one of these."""
_MOVING = (
    *("gateways", "uptime", "backend_runs", "canary_results", "audit_records"),
    *("chain_heads", "secrets"),
)
"""Tables that a gateway writes while nobody changes anything: leases, the record of requests."""
_SEEN = ("last_used_at_us", "seen_at_us")
_ALL = Range(100)
_CONTENT = {responses, files, audit_contents}


@dataclass(frozen=True)
class Person:
    """Who sends requests. `permissions`: what they may do; `known`: else they are nobody (401)."""

    name: str
    headers: dict[str, str]
    permissions: frozenset[Permission] = NOBODY
    known: bool = True
    writes: bool = True
    """False: a session without its token, which reads and never writes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway sent back. `headers`: by lower-case name, those of one name in one line."""

    url: str
    status_code: int
    headers: dict[str, str]
    text: str

    def json(self) -> Any:
        """The body. Raises ValueError when it is not JSON."""
        return json.loads(self.text)


@dataclass
class Campus:
    """A gateway with people of every kind.

    Its client is the standard library's: one test sends 7,000 requests, and httpx2 takes 2.6 times
    as much CPU for each. `database` has compiled the statements of a dump after the first one.
    """

    database: Database
    runner: asyncio.Runner
    gateway: Gateway | None = None
    people: list[Person] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    secrets: set[str] = field(default_factory=set)
    _addresses: Iterator[int] = field(default_factory=lambda: count(1))
    _http: HTTPConnection | None = None

    def ask(self, who: Person | str, method: str, path: str, body: Any = None) -> Answer:
        """A request from an address of its own: failures of one must not slow the next one down."""
        assert self.gateway is not None
        headers = dict(who.headers) if isinstance(who, Person) else bearer(self.keys[who])
        number = next(self._addresses)
        headers["x-forwarded-for"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        if body is not None:
            headers["content-type"] = "application/json"
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        http = self._connection()
        http.request(method, path, content, headers)
        with http.getresponse() as answer:
            text = answer.read().decode(errors="replace")
            shown: dict[str, str] = {}
            for name, value in answer.getheaders():
                shown[name.lower()] = ", ".join(filter(None, (shown.get(name.lower()), value)))
        return Answer(self.gateway.url + path, answer.status, shown, text)

    def _connection(self) -> HTTPConnection:
        """The open one, unless the gateway has closed it."""
        assert self.gateway is not None
        if self._http is None:
            self._http = HTTPConnection("127.0.0.1", self.gateway.port, timeout=PATIENCE_S)
        sock = self._http.sock
        if sock is not None and readable([sock], [], [], 0)[0]:
            self._http.close()
        return self._http

    def close(self) -> None:
        """Closes the connection."""
        if self._http is not None:
            self._http.close()

    def of(self, name: str) -> Person:
        """One of the people."""
        return next(one for one in self.people if one.name == name)

    def listed(self, path: str) -> list[str]:
        """The ids of the objects that an administrator's list has."""
        answer = self.ask("admin", "GET", path)
        is_list = answer.status_code == 200 and "json" in answer.headers["content-type"]
        data = answer.json().get("data", []) if is_list else []
        return [str(one["id"]) for one in data if "id" in one]

    def dump(self) -> dict[str, list[Any]]:
        """Every row of the database, without what moves by itself."""
        return self.runner.run(_dump(self.database))


def bearer(key: str) -> dict[str, str]:
    """The header of a key."""
    return {"authorization": f"Bearer {key}"}


@contextmanager
def run_campus(location: Location, folder: Path, *more: str) -> Iterator[Campus]:
    """A gateway in front of no server at all: none of these routes needs one."""
    flags = ["--require-keys", "--database-url", url_of(location)]
    flags += ["--trusted-proxies", "127.0.0.0/8", *more]
    with asyncio.Runner() as runner:
        database = Database(location)
        campus = Campus(database, runner)
        try:
            runner.run(_fill(campus))
            with run_gateway("127.0.0.1:9", folder / "log", *flags, wait_ready=False) as gateway:
                campus.gateway = gateway
                with closing(campus):
                    yield campus
        finally:
            runner.run(database.close())


async def _fill(campus: Campus) -> None:
    directory = await opened(campus.database)
    for name, role in SEEDED.items():
        await _member(campus, directory, name, role.name, role.permissions)
    for name in GRANTABLE:
        await directory.roles.create(OPERATOR, f"only-{name}", 1, [name])
        await _member(campus, directory, f"only-{name}", f"only-{name}", {Permission(name)})
    campus.people.append(Person("nobody", {}, known=False))
    campus.people.append(Person("guess", bearer("tt-" + "a" * 16 + "-" + "a" * 43), known=False))
    await _dead(campus, directory)
    await _sessions(campus, directory)
    await _others(campus, directory)
    for key in ("admin", "hidden-admin", "outside"):
        campus.secrets |= {campus.keys[key], campus.keys[key].rpartition("-")[2]}
    campus.secrets |= await _stored(campus.database)


async def _member(campus: Campus, directory: Directory, name: str, role: str, may: Any) -> User:
    user, key = await add(directory, name, role)
    campus.ids[name], campus.keys[name] = user.id, key
    campus.people.append(Person(name, bearer(key), frozenset(may)))
    return user


async def _dead(campus: Campus, directory: Directory) -> None:
    """Keys of administrators that must not work, each for another reason."""

    async def dead(reason: str) -> tuple[User, str, str]:
        user, key = await add(directory, f"dead-{reason}", "admin")
        campus.people.append(Person(reason, bearer(key), known=False))
        return user, key, key.split("-")[1]

    _, _, expired = await dead("expired")
    async with directory.users.changes.database.begin() as rows:
        await rows.execute(update(key_rows).where(key_rows.c.id == expired).values(expires_at_us=1))
    await directory.keys.delete(OPERATOR, (await dead("revoked"))[2])
    await directory.keys.edit(OPERATOR, (await dead("disabled"))[2], {"disabled": True})
    await directory.keys.rotate(OPERATOR, (await dead("rotated"))[2], 0)
    await directory.users.edit(OPERATOR, (await dead("user-off"))[0].id, {"disabled": True})
    await directory.users.delete(OPERATOR, (await dead("user-gone"))[0].id)
    off = await directory.organisations.create(OPERATOR, "hidden-off")
    for reason, disable in (("group-off", True), ("organisation-off", False)):
        group = await directory.groups.create(OPERATOR, reason, off.id, 1)
        user, _, _ = await dead(reason)
        await directory.users.edit(OPERATOR, user.id, {"group_id": group.id})
        if disable:
            await directory.groups.edit(OPERATOR, group.id, {"disabled": True})
    await directory.organisations.edit(OPERATOR, off.id, {"disabled": True})
    admin = campus.ids["admin"]
    for name, new in (
        ("narrow-routes", NewKey(endpoints=["/nowhere/*"])),
        ("narrow-network", NewKey(networks=["203.0.113.0/24"])),
    ):
        made = await directory.keys.create(OPERATOR, admin, new)
        campus.people.append(Person(name, bearer(str(made.text))))


async def _sessions(campus: Campus, directory: Directory) -> None:
    sessions = Sessions(directory.users.changes.database, Passwords())

    async def session(name: str, stage: str = "") -> str:
        token = (await sessions.begin(campus.ids[name], stage)).token
        campus.secrets.add(token)
        return token

    def cookie(token: str, csrf: str = "") -> dict[str, str]:
        return {"cookie": f"session={token}"} | ({"x-csrf-token": csrf} if csrf else {})

    own, other, member = await session("admin"), await session("staff"), await session("student")
    campus.people += [
        Person("session", cookie(own), SEEDED["admin"].permissions, writes=False),
        Person(
            "session-of-other",
            cookie(own, csrf_of(other.encode())),
            SEEDED["admin"].permissions,
            writes=False,
        ),
        Person(
            "session-member",
            cookie(member, csrf_of(member.encode())),
            SEEDED["student"].permissions,
        ),
    ]
    step, ended = await session("admin", PASSWORD), await session("admin")
    await sessions.end(ended.encode())
    for name, token in (("step", step), ("ended", ended), ("made-up", "A" * 43)):
        headers = cookie(token, csrf_of(token.encode()))
        campus.people.append(Person(f"session-{name}", headers, known=False))


async def _others(campus: Campus, directory: Directory) -> None:
    """What belongs to somebody else: an administrator, and a member of another organisation."""
    ids = campus.ids
    elsewhere = await directory.organisations.create(OPERATOR, "outside-place")
    group = await directory.groups.create(OPERATOR, "outside-group", elsewhere.id, 5)
    for name, role, place in (("hidden-admin", "admin", None), (OUTSIDE, "staff", group.id)):
        email = f"{name}@example.org"
        new = NewUser(name, role, place, f"{name} shown", email)
        user = await directory.users.create(OPERATOR, new)
        key = await directory.keys.create(
            OPERATOR, user.id, NewKey(f"{name}-key", budget=Budget(777_000, "month"))
        )
        ids[name], campus.keys[name] = user.id, str(key.text)
        campus.secrets.add(await directory.users.reset_password(OPERATOR, user.id))
        actor = Actor(user.id, name, SEEDED[role].permissions, role)
        made = await directory.factors.set_up(actor, None)
        campus.secrets |= {made.secret, base64.b32decode(made.secret).hex()}
        ids[f"{name}-session"] = await _session_id(directory, user.id, campus)
    asked = NewQuota("user", ids[OUTSIDE], "tokens", "month", 900_000)
    actor = Actor(ids[OUTSIDE], OUTSIDE, NOBODY)
    ids["asked"] = (await directory.quota_requests.file(actor, asked, "hidden reason")).id
    plan = (await directory.plans.page(_ALL))[0]
    await directory.subscriptions.subscribe(OPERATOR, "user", ids[OUTSIDE], plan.id)
    await directory.prices.create(OPERATOR, "hidden-model", {"prompt_micro": 5, "upstream": "*"})
    form = Form("hidden-applicant", "hidden@example.org", "hidden reason")
    request, claimed = await directory.requests.submit(form, "192.0.2.7")
    ids["request"] = request.id
    campus.secrets |= {claimed, claimed.rpartition("-")[2]}


async def _session_id(directory: Directory, user_id: str, campus: Campus) -> str:
    sessions = Sessions(directory.users.changes.database, Passwords())
    token = (await sessions.begin(user_id)).token
    campus.secrets.add(token)
    return (await sessions.of_user(user_id, token.encode()))[0].id


async def _stored(database: Database) -> set[str]:
    """Every password hash, and every binary value in each spelling that an answer could have."""
    found: set[str] = {"$argon2"}
    async with database.connect() as rows:
        for table in metadata.sorted_tables:
            columns = [one for one in table.c if isinstance(one.type, LargeBinary)]
            if not columns or table in _CONTENT:
                continue
            for row in await rows.execute(select(*columns)):
                for value in row:
                    if value is not None and len(value) >= 10:
                        found |= {value.hex(), base64.b64encode(value).decode().rstrip("=")}
                        found.add(base64.urlsafe_b64encode(value).decode().rstrip("="))
    return found


async def _dump(database: Database) -> dict[str, list[Any]]:
    found = {}
    async with database.connect() as rows:
        for table in metadata.sorted_tables:
            if table.name not in _MOVING:
                columns = [one for one in table.c if one.name not in _SEEN]
                query = select(*columns).order_by(*table.primary_key.columns)
                found[table.name] = [tuple(row) for row in await rows.execute(query)]
    return found
