"""How long the gateway takes for each page of administrators and users, at volume.

2,000 users with 4,000 keys, ROWS audit records and half as many hourly sums of usage in a SQLite
file. A page is its HTML and each answer of the JSON API that it shows first;
times are the gateway's own (`openai-processing-ms`), 20 of each. Target: 150 ms for each answer.
"""

import asyncio
import re
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from sqlalchemy import text

from benchmarks.audit import fill, opened
from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.users import NewUser
from frontend.store.database import Database
from frontend.store.location import Location
from tests.support.accounts import opened as directory_of
from tests.support.gateway import Gateway, run_gateway

USERS = 2000
_HOUR_US = 3_600_000_000
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
    "usage of 30 days by model": ("/admin/usage?interval=day&by=model&limit=50",),
}
OWN = {
    "account of a user": (
        "/dashboard", "/me", "/me/keys?limit=50", "/me/quotas",
        "/me/usage?interval=day&by=model,key_id&limit=100", "/me/audit?limit=50",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Timed:
    """Milliseconds of the slowest answer of a page: at the median, and at most."""

    page: str
    address: str
    p50_ms: float
    most_ms: float


def measure(rows: int, folder: Path) -> list[Timed]:
    """Every page, of an administrator and of an ordinary user."""
    with opened("sqlite", folder) as location:
        asyncio.run(fill(location, rows))
        passwords = asyncio.run(_add_accounts(location, rows // 2))
        log = folder / "gateway.log"
        flags = ["--require-keys", "--database-url", f"sqlite:///{location.file}"]
        with run_gateway(_NOTHING, log, *flags, wait_ready=False) as gateway:
            with _signed_in(gateway, "root", passwords) as http:
                timed = [_time(http, page, addresses) for page, addresses in ADMIN.items()]
            with _signed_in(gateway, "ordinary", passwords) as http:
                return timed + [_time(http, page, addresses) for page, addresses in OWN.items()]


async def _add_accounts(location: Location, sums: int) -> dict[str, str]:
    """The people whom the records are of, their keys, and sums of usage; passwords of two."""
    database = Database(location)
    directory = await directory_of(database)
    passwords = {}
    for name, role in (("root", "admin"), ("ordinary", "student")):
        if (user := await _find(database, name)) is None:
            user = (await directory.users.create(OPERATOR, NewUser(name, role))).id
        passwords[name] = await directory.users.reset_password(OPERATOR, user)
    async with database.begin() as connection:
        numbers = (
            f"WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n+1 FROM c WHERE n<{USERS - 1})"
        )
        group = "(SELECT id FROM groups LIMIT 1)"
        await connection.execute(
            text(
                "INSERT OR IGNORE INTO users (id, group_id, role, name, display_name, email,"
                f" created_at_us, updated_at_us) {numbers} SELECT 'u' || n, {group}, 'student',"
                " 'name' || n, 'Name ' || n, 'name' || n || '@example.org', n, n FROM c"
            )
        )
        for kind in ("k", "l"):
            await connection.execute(
                text(
                    "INSERT OR IGNORE INTO keys (id, user_id, name, digest, created_at_us)"
                    f" {numbers} SELECT '{kind}' || n, 'u' || n, 'laptop', zeroblob(32), n FROM c"
                )
            )
        hours = (
            f"WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n+1 FROM c WHERE n<{sums - 1})"
            " INSERT OR IGNORE INTO usage_hourly (hour_at_us, organisation_id, group_id, user_id,"
            " key_id, model, requests, failures, prompt_tokens, cached_tokens, completion_tokens,"
            " reasoning_tokens, images, credits_micro, price_micro, duration_us)"
            f" SELECT (CAST(strftime('%s', 'now') AS INTEGER) / 3600 - n / 600) * {_HOUR_US}, 'o',"
            " 'g' || (n % 20), 'u' || (n % 2000), 'k' || (n % 2000), 'm' || (n % 12),"
            " 3, 0, 1000, 0, 200, 0, 0, 0, 0, 1 FROM c"
        )
        await connection.execute(text(hours))
        await connection.execute(text("ANALYZE"))
    await database.close()
    return passwords


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


def _time(http: httpx2.Client, page: str, addresses: tuple[str, ...]) -> Timed:
    """The slowest of a page's answers."""
    timed = []
    for address in addresses:
        answers = [http.get(address) for _ in range(_REPEATS)]
        assert all(one.status_code == 200 for one in answers), (address, answers[0].text)
        times = [float(one.headers["openai-processing-ms"]) for one in answers]
        timed.append(Timed(page, address.partition("?")[0], statistics.median(times), max(times)))
    return max(timed, key=lambda one: one.p50_ms)
