"""How long the gateway takes for each page of administrators and users, at volume.

2,000 users with 4,000 keys, ROWS audit records and half as many rows of usage in a year, with all
of their sums, on SQLite and PostgreSQL. The user is the one with the most of them. A page is its
HTML and each answer of the JSON API that it shows first; times are the gateway's own
(`openai-processing-ms`), 20 of each. Target: 150 ms for each answer.
"""

import asyncio
import re
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import text

from benchmarks.audit import KINDS, fill, opened
from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.users import NewUser
from frontend.store.database import Database
from frontend.store.location import Location
from frontend.store.migrate import downgrade, upgrade
from frontend.store.rollups import COLUMNS, SUMS
from frontend.store.tables.usage import COUNTS
from tests.support.accounts import opened as directory_of
from tests.support.gateway import Gateway, run_gateway

USERS = 2000
_OWN = "name0"
_HOUR_US = 3_600_000_000
_YEAR_US = 365 * 24 * _HOUR_US
_PIECE = 200_000
_BEFORE_SUMS = "0010"
"""The revision before the one that fills the sums of usage."""
_REPEATS = 20
_NOTHING = "127.0.0.1:9"
"""Pages are measured without an upstream: what they show of it is in memory."""
ADMIN = {
    "overview": ("/admin", "/admin/overview"),
    "upstreams": ("/admin/pages/upstreams", "/admin/backends"),
    "models": ("/admin/pages/models", "/admin/models?limit=50"),
    "users": ("/admin/pages/users", "/admin/users?limit=50"),
    "users, a search": ("/admin/users?limit=50&search=name19",),
    "groups": ("/admin/pages/groups", "/admin/groups?limit=50", "/admin/organisations?limit=50"),
    "keys": ("/admin/pages/keys", "/admin/keys?limit=50"),
    "requests": ("/admin/key-requests?limit=50", "/admin/quota-requests?limit=50"),
    "quotas": ("/admin/pages/quotas", "/admin/quotas?limit=50"),
    "plans": ("/admin/plans?limit=50", "/admin/subscriptions?limit=50"),
    "prices": ("/admin/pages/prices", "/admin/prices?limit=50"),
    "audit": ("/admin/pages/audit", "/admin/audit/search?limit=50"),
    "audit of a user": ("/admin/audit/search?limit=50&user_id=u7",),
    "changes": ("/admin/pages/changes", "/admin/events?limit=50&order=newest"),
    "settings": ("/admin/pages/settings", "/admin/settings"),
    "usage": (
        "/admin/pages/usage", "/admin/usage?interval=total&by=user_id&order=tokens&limit=50",
        "/admin/usage?interval=day&by=&limit=200", "/admin/usage?interval=day&by=&user_id=u0",
        "/admin/usage?interval=day&by=user_id,key_id,model&limit=50",
    ),
    "usage of 30 days by model": ("/admin/usage?interval=day&by=model&limit=200",),
    "the same in Kathmandu": ("/admin/usage?interval=day&by=model&limit=200&tz=Asia/Kathmandu",),
    "usage of 30 days by group": (
        "/admin/usage?interval=day&by=group_id&limit=200&tz=Europe/Berlin",
    ),
    "usage of 30 days by user": ("/admin/usage?interval=total&by=user_id&limit=200",),
    "usage of a group by model": (
        "/admin/usage?interval=day&by=model&group_id=g1&limit=200&tz=Europe/Berlin",
    ),
    "usage of a user": ("/admin/usage?user_id=u0&by=model&limit=1",),
    "usage of a key": ("/admin/usage?key_id=k0&interval=day&by=model&limit=200&tz=Asia/Kolkata",),
}  # fmt: skip
OWN = {
    "account of a user": (
        "/dashboard", "/me", "/me/keys?limit=50", "/me/quotas",
        "/me/usage?interval=day&by=model,key_id&limit=100", "/me/audit?limit=50",
    ),
    "usage of a year": (
        "/me/usage?interval=day&by=model,key_id&limit=200&tz=Asia/Kolkata&start=2025-12-01",
        "/me/usage?interval=month&by=model,key_id&limit=200&tz=Europe/Berlin&start=2025-12-01",
    ),
    "playground": ("/playground",),
    "status": ("/",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Timed:
    """Milliseconds of the slowest answer of a page: at the median, and at most."""

    database: str
    page: str
    address: str
    p50_ms: float
    most_ms: float


def measure(rows: int, folder: Path) -> list[Timed]:
    """Every page, of an administrator and of an ordinary user, on both databases.

    What an earlier run has left in `folder` is used again."""
    timed = []
    # each database is filled by one process: ten million records take a quarter of an hour
    with ProcessPoolExecutor(len(KINDS)) as pool:
        made = pool.map(partial(_prepare, rows, folder), KINDS)
    for kind, passwords in zip(KINDS, made, strict=True):
        with opened(kind, folder) as location:
            url = location.url.render_as_string(hide_password=False)
            address = f"sqlite:///{location.file}" if location.is_sqlite else url
            flags = ["--require-keys", "--database-url", address]
            log = folder / f"gateway-{kind}.log"
            with run_gateway(_NOTHING, log, *flags, wait_ready=False) as gateway:
                for name, pages in (("root", ADMIN), (_OWN, OWN)):
                    with _signed_in(gateway, name, passwords) as http:
                        timed += [_time(http, kind, page, pages[page]) for page in pages]
    return timed


def _prepare(rows: int, folder: Path, kind: str) -> dict[str, str]:
    """Fills a database as far as an earlier run has not; passwords of two users."""
    with opened(kind, folder) as location:
        asyncio.run(fill(location, rows))
        return asyncio.run(_add_accounts(location, rows // 2))


async def _add_accounts(location: Location, rows: int) -> dict[str, str]:
    """The people whom the records are of, their keys, and their usage; passwords of two."""
    database = Database(location, statement_s=None)
    directory = await directory_of(database)
    if (root := await _find(database, "root")) is None:
        root = (await directory.users.create(OPERATOR, NewUser("root", "admin"))).id
    numbers = _numbers(is_sqlite=location.is_sqlite)
    digest = "randomblob(32)" if location.is_sqlite else "decode(md5({0}) || md5({0}), 'hex')"
    async with database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO users (id, group_id, role, name, display_name, email,"
                f" created_at_us, updated_at_us) {numbers} SELECT 'u' || n,"
                " (SELECT id FROM groups LIMIT 1), 'student', 'name' || n, 'Name ' || n,"
                " 'name' || n || '@example.org', n, n FROM c WHERE true ON CONFLICT DO NOTHING"
            ),
            {"first": 0, "last": USERS},
        )
        for kind in ("k", "l"):
            await connection.execute(
                text(
                    "INSERT INTO keys (id, user_id, name, digest, created_at_us)"
                    f" {numbers} SELECT '{kind}' || n, 'u' || n, 'laptop',"
                    f" {digest.format(repr(kind) + ' || n')}, n FROM c WHERE true"
                    " ON CONFLICT DO NOTHING"
                ),
                {"first": 0, "last": USERS},
            )
    await _add_usage(database, rows)
    passwords = {
        name: await directory.users.reset_password(OPERATOR, user)
        for name, user in (("root", root), (_OWN, "u0"))
    }
    await database.close()
    return passwords


async def _add_usage(database: Database, rows: int) -> None:
    """Rows of the last year, their hours, and by the migration all other sums."""
    async with database.connect() as connection:
        count = (await connection.execute(text("SELECT count(*) FROM usage"))).scalar_one()
    if count == rows:
        return
    assert count == 0, f"the folder has a database with {count} rows of usage"
    await downgrade(database, _BEFORE_SUMS)
    statement = text(_usage_rows(is_sqlite=database.location.is_sqlite))
    step_us, now_us = _YEAR_US // rows, time.time_ns() // 1000
    for first in range(0, rows, _PIECE):
        values = {"first": first, "last": min(rows, first + _PIECE)}
        async with database.begin() as connection:
            values |= {"start": now_us - _YEAR_US, "step": step_us}
            await connection.execute(statement, values)
    hour = f"started_at_us - started_at_us % {_HOUR_US}"
    failed = "sum(CASE WHEN status >= 400 THEN 1 ELSE 0 END)"
    sums = ", ".join(("count(*)", failed, *(f"sum({name})" for name in COUNTS)))
    columns = ", ".join(COLUMNS)
    async with database.begin() as connection:
        await connection.execute(
            text(
                f"INSERT INTO usage_hourly (hour_at_us, {columns}, {', '.join(SUMS)})"
                f" SELECT {hour}, {columns}, {sums} FROM usage GROUP BY {hour}, {columns}"
            )
        )
    await upgrade(database)
    async with database.begin() as connection:
        if not database.location.is_sqlite:
            # gateways write the sums of a day on that day, the migration in any order
            await connection.execute(text("CLUSTER usage_rollups USING pk_usage_rollups"))
        await connection.execute(text("ANALYZE"))


def _numbers(*, is_sqlite: bool) -> str:
    if is_sqlite:
        more = "SELECT n + 1 FROM c WHERE n + 1 < :last"
        return f"WITH RECURSIVE c(n) AS (SELECT :first UNION ALL {more})"
    bounds = "CAST(:first AS bigint), CAST(:last AS bigint) - 1"
    return f"WITH c(n) AS (SELECT generate_series({bounds}))"


def _usage_rows(*, is_sqlite: bool) -> str:
    """Few users and models have most of the requests, as with the audit records."""
    whole = "CAST({} AS INTEGER)" if is_sqlite else "CAST(floor({}) AS INTEGER)"
    fraction = "((n * {} + {}) % 2147483647) / 2147483647.0"
    x, y = fraction.format(1103515245, 12345), fraction.format(69621, 777)
    user, model = whole.format("2000 * x * x * x"), whole.format("12 * y * y")
    number = "printf('%026d', n)" if is_sqlite else "lpad(CAST(n AS text), 26, '0')"
    values: dict[str, Any] = {
        "id": number,
        "request_id": "'r' || n",
        "organisation_id": "'o' || (u % 3)",
        "group_id": "'g' || (u % 20)",
        "user_id": "'u' || u",
        "key_id": "CASE WHEN n % 2 = 0 THEN 'k' || u ELSE 'l' || u END",
        "model": "'m' || m",
        "dialect": "'openai'", "endpoint": "'/v1/chat/completions'", "upstream": "'triton'",
        "status": "CASE WHEN n % 50 = 0 THEN 500 ELSE 200 END",
        "estimated": "n < 0",
        **{name: f"n % {100 + 7 * at}" for at, name in enumerate(COUNTS)},
        "started_at_us": ":start + n * CAST(:step AS bigint)",
    }  # fmt: skip
    if not is_sqlite:
        values["started_at_us"] = "CAST(:start AS bigint) + n * CAST(:step AS bigint)"
    drawn = f"SELECT n, {x} AS x, {y} AS y FROM c"
    named = f"SELECT n, {user} AS u, {model} AS m FROM ({drawn}) AS drawn"
    return (
        f"INSERT INTO usage ({', '.join(values)}) {_numbers(is_sqlite=is_sqlite)}"
        f" SELECT {', '.join(values.values())} FROM ({named}) AS named"
    )


async def _find(database: Database, name: str) -> str | None:
    async with database.connect() as connection:
        rows = await connection.execute(text("SELECT id FROM users WHERE name = :n"), {"n": name})
        return rows.scalar_one_or_none()


@contextmanager
def _signed_in(gateway: Gateway, name: str, passwords: dict[str, str]) -> Iterator[httpx2.Client]:
    headers = {"accept": "text/html, */*;q=0.8"}
    with httpx2.Client(base_url=gateway.url, headers=headers, timeout=60) as http:
        field = re.search('name="csrf" value="([0-9a-f]+)"', http.get("/login").text)
        assert field is not None
        fields = {"name": name, "password": passwords[name], "csrf": field[1]}
        assert http.post("/login", data=fields).status_code == 303
        yield http


def _time(http: httpx2.Client, kind: str, page: str, addresses: tuple[str, ...]) -> Timed:
    """The slowest of a page's answers."""
    timed = []
    for address in addresses:
        answers = [http.get(address) for _ in range(_REPEATS)]
        assert all(one.status_code == 200 for one in answers), (address, answers[0].text)
        times = [float(one.headers["openai-processing-ms"]) for one in answers]
        shown = address.partition("?")[0]
        timed.append(Timed(kind, page, shown, statistics.median(times), max(times)))
    return max(timed, key=lambda one: one.p50_ms)
