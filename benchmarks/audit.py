"""How long a page of 50 audit records takes to find, by filter, among ROWS records of a year.

2,000 users with very different numbers of requests, 20 groups, 12 models; a tenth of the records
have text of 40 words. Each search is repeated with other values, through the store that the gateway
uses. PostgreSQL runs on the same machine without fsync, with 32 MiB of buffers. Target: 200 ms.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import text

from frontend.domain.audit import AuditRecord
from frontend.store.audit import AuditFilter, AuditStore, facets_of, first_id
from frontend.store.database import Database
from frontend.store.location import Location, at_file, parse_location
from frontend.store.migrate import upgrade
from tests.support.audits import record
from tests.support.databases import Postgres

KINDS = ("sqlite", "postgres")
_START_US = 1_735_689_600_000_000  # 2025
_YEAR_US = 365 * 86_400_000_000
_DAY_US = 86_400_000_000
_PAGE = 50
_WORDS, _TEXT, _PIECE = 20_000, 40, 200_000
_INDEXES = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
_PG_INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'ix_audit_%'"

Chosen = tuple[AuditFilter, int | None]
Choose = Callable[[random.Random], Chosen]


@dataclass(frozen=True, slots=True)
class Found:
    """Milliseconds of one kind of search."""

    database: str
    what: str
    p50_ms: float
    p95_ms: float
    most_ms: float


def measure(rows: int, folder: Path, repeats: int = 30) -> list[Found]:
    """On both databases. What an earlier run has left in `folder` is used again."""
    found = []
    for kind in KINDS:
        with opened(kind, folder) as location:
            asyncio.run(fill(location, rows))
            found += asyncio.run(_search(kind, location, rows, repeats))
    return found


class opened:  # noqa: N801
    """A database in the folder that outlives the block."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._kind, self._folder = kind, folder
        self._server: Postgres | None = None

    def __enter__(self) -> Location:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._kind == "sqlite":
            return at_file(self._folder / "audit.db")
        self._server = Postgres(self._folder / "postgres")
        self._server.start()
        return parse_location(self._server.url("postgres"))

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.stop()


async def fill(location: Location, rows: int) -> None:
    """Adds the records that are not there, without indexes; then the indexes."""
    database = Database(location)
    await upgrade(database)
    async with database.connect() as connection:
        count = (await connection.execute(text("SELECT count(*) FROM audit_records"))).scalar_one()
    # gateways that were measured have added some of their own
    if count < rows:
        assert count == 0, f"the folder has a database with {count} records"
        await _fill(database, rows)
    await database.close()


async def _fill(database: Database, rows: int) -> None:
    location = database.location
    async with database.begin() as connection:
        indexes = await _drop_indexes(connection, is_sqlite=location.is_sqlite)
    statement = text(_records(is_sqlite=location.is_sqlite))
    for first in range(0, rows, _PIECE):
        last = min(rows, first + _PIECE)
        async with database.begin() as connection:
            values = {"first": first, "last": last, "step": _YEAR_US // rows}
            await connection.execute(statement, values)
            await _add_texts(connection, first, last, rows)
    if location.is_sqlite:
        for definition in indexes:
            async with database.begin() as connection:
                await connection.execute(text(definition))
        return
    # without the gateway's limit for a statement
    url = location.url.set(drivername="postgresql")
    plain = await asyncpg.connect(url.render_as_string(hide_password=False))
    for statement in ("SET maintenance_work_mem = '512MB'", *indexes, "VACUUM ANALYZE"):
        await plain.execute(statement)
    await plain.close()


async def _drop_indexes(connection: Any, *, is_sqlite: bool) -> list[str]:
    query = text(_INDEXES if is_sqlite else _PG_INDEXES)
    indexes = [row for row in await connection.execute(query) if row[0].startswith("ix_audit_")]
    for name, _ in indexes:
        await connection.execute(text(f"DROP INDEX {name}"))
    return [definition for _, definition in indexes]


def _records(*, is_sqlite: bool) -> str:
    """One statement for many of them: a million rows take seconds."""
    fraction = "((n * {a} + {b}) % 2147483647) / 2147483647.0"
    factors = ((1103515245, 12345), (69621, 777), (48271, 4242))
    x, y, z = (fraction.format(a=a, b=b) for a, b in factors)
    numbers = (
        "WITH RECURSIVE c(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM c WHERE n + 1 < :last)"
        " SELECT n FROM c"
        if is_sqlite
        else "SELECT generate_series(CAST(:first AS bigint), CAST(:last AS bigint) - 1) AS n"
    )
    whole = "CAST({} AS INTEGER)" if is_sqlite else "CAST(floor({}) AS INTEGER)"
    status = (
        "CASE WHEN z < 0.93 THEN 200 WHEN z < 0.96 THEN 400 WHEN z < 0.98 THEN 429"
        " WHEN z < 0.99 THEN 499 WHEN z < 0.995 THEN 503 ELSE 500 END"
    )
    values = {
        "id": f"({_START_US} + n * CAST(:step AS bigint)) * 4096",
        "request_id": "'r' || n",
        "group_id": "'g' || (u % 20)",
        "user_id": "'u' || u",
        "user_name": "'name' || u",
        "key_id": "'k' || u",
        # group 3 never uses model 1, though both are frequent
        "model": "'m' || (CASE WHEN u % 20 = 3 AND m = 1 THEN 0 ELSE m END)",
        "status": status,
        "ran": "z < 0.93",
        "prompt_tokens": "n % 2000",
        "completion_tokens": "n % 500",
        "duration_us": "n % 10000000",
        "level": "CASE WHEN n % 10 = 0 THEN 'full' ELSE 'metadata' END",
        "digest": "zeroblob(32)" if is_sqlite else "decode(repeat('00', 32), 'hex')",
        "dialect": "'openai'", "method": "'POST'", "route": "'/v1/chat/completions'",
        "upstream": "'triton'", "decision": "'allowed'",
        **dict.fromkeys(("client_id", "error", "address"), "''"),
    }  # fmt: skip
    names = [one.name for one in fields(AuditRecord)]
    drawn = f"SELECT n, {x} AS x, {y} AS y, {z} AS z FROM ({numbers}) AS numbers"
    user, model = whole.format("2000 * x * x * x"), whole.format("12 * y * y")
    named = f"SELECT n, z, {user} AS u, {model} AS m FROM ({drawn}) AS drawn"
    chosen = ", ".join(values.get(name, "0") for name in names)
    return f"INSERT INTO audit_records ({', '.join(names)}) SELECT {chosen} FROM ({named}) AS named"


async def _add_texts(connection: Any, first: int, last: int, rows: int) -> None:
    """The texts of every tenth record. A word is as rare as its number is large."""
    step = _YEAR_US // rows
    query = text(
        "SELECT id, user_id, group_id, model, status FROM audit_records"
        " WHERE id >= :low AND id < :high AND level = 'full'"
    )
    low, high = (first_id(_START_US + number * step) for number in (first, last))
    made, drawn = [], random.Random(first)
    for row in (await connection.execute(query, {"low": low, "high": high})).all():
        words = {f"w{int(_WORDS * drawn.random() ** 3)}" for _ in range(_TEXT)}
        facets = facets_of(_with(row))
        plain = " ".join(words)
        body = f'{{"messages":[{{"role":"user","content":"{plain}"}}]}}'
        line = {"id": row[0], "request": body, "answer": "{}", "words": " ".join([*facets, *words])}
        made.append(line)
    statement = "INSERT INTO audit_contents (id, request, answer, words) VALUES"
    if made:
        await connection.execute(text(f"{statement} (:id, :request, :answer, :words)"), made)


def _with(row: Any) -> AuditRecord:
    base = record(0, row[1], row[3], row[4])
    return AuditRecord(
        **{**{f.name: getattr(base, f.name) for f in fields(base)}, "group_id": row[2]}
    )


def case(**chosen: Any) -> Choose:
    """Searches with these values; each may be a function that draws one."""

    def choose(drawn: random.Random) -> Chosen:
        values = {k: v(drawn) if callable(v) else v for k, v in chosen.items()}
        before = values.pop("before", None)
        day = values.pop("day", None)
        start, end = (_START_US, _START_US + _YEAR_US) if day is None else (day, day + _DAY_US)
        return AuditFilter(start, end, **values), before

    return choose


def day(drawn: random.Random) -> int:
    """The start of a day, in microseconds."""
    return _START_US + drawn.randrange(364) * _DAY_US


def middle(drawn: random.Random) -> int:
    """The first id of a day."""
    return first_id(day(drawn))


def frequent(drawn: random.Random) -> str:
    """A user; those with low numbers have more records."""
    return f"u{int(2000 * drawn.random() ** 3)}"


def word(most: int) -> Callable[[random.Random], tuple[str, ...]]:
    """One of the `most` most frequent words."""
    return lambda drawn: (f"w{drawn.randrange(most)}",)


def _cases(rows: int) -> dict[str, Choose]:
    return {
        "the newest": case(),
        "a day": case(day=day),
        "user": case(user_id=frequent),
        "user, a rare one": case(user_id=lambda d: f"u{d.randrange(1500, 2000)}"),
        "user, a day": case(user_id=frequent, day=day),
        "user, a later page": case(user_id=frequent, before=middle),
        "group": case(group_id=lambda d: f"g{d.randrange(20)}"),
        "model": case(model=lambda d: f"m{d.randrange(12)}"),
        "model, a later page": case(model=lambda d: f"m{d.randrange(12)}", before=middle),
        "status": case(statuses=lambda d: (d.choice((400, 429, 499, 500, 503)),)),
        "statuses 400–499": case(statuses=tuple(range(400, 500))),
        "user and model": case(user_id=frequent, model=lambda d: f"m{d.randrange(12)}"),
        "user and status": case(user_id=frequent, statuses=(503,)),
        "group, model and status": case(
            group_id=lambda d: f"g{d.randrange(20)}",
            model=lambda d: f"m{d.randrange(12)}",
            statuses=(500,),
        ),
        "group and model, never together": case(group_id="g3", model="m1"),
        "user and group, never together": case(user_id="u0", group_id="g3"),
        "user and model, a later page": case(
            user_id="u0", model=lambda d: f"m{d.randrange(12)}", before=middle
        ),
        "model and status": case(model=lambda d: f"m{d.randrange(12)}", statuses=(200,)),
        "model and status, never together": case(model="m0", statuses=(418,)),
        "user, group and model, never together": case(user_id="u0", group_id="g0", model="m99"),
        "request id": case(request_id=lambda d: f"r{d.randrange(rows)}"),
        "text, a rare word": case(words=lambda d: (f"w{d.randrange(10_000, _WORDS)}",)),
        "text, a frequent word": case(words=word(10)),
        "text, two words": case(words=lambda d: (*word(200)(d), *word(2000)(d))),
        "text and a rare user": case(
            words=word(10), user_id=lambda d: f"u{d.randrange(1500, 2000)}"
        ),
        "text and user, never together": case(words=("w19999", "w19998"), user_id="u0"),
        "text, a day": case(words=word(200), day=day),
        "text, a later page": case(words=word(200), before=middle),
        "text, the beginning of a word": case(words=lambda d: (f"w{d.randrange(100, 200)}*",)),
        "text, one letter and a rare user": case(
            words=("w*",), user_id=lambda d: f"u{d.randrange(1500, 2000)}"
        ),
    }


async def _search(kind: str, location: Location, rows: int, repeats: int) -> list[Found]:
    database = Database(location)
    store, found = AuditStore(database), []
    for what, choose in _cases(rows).items():
        drawn, times = random.Random(what), []
        for _ in range(repeats):
            chosen, before = choose(drawn)
            begun_s = time.perf_counter()
            await store.search(chosen, before, _PAGE)
            times.append((time.perf_counter() - begun_s) * 1000)
        times.sort()
        p95 = times[int(len(times) * 0.95)]
        found.append(Found(kind, what, times[len(times) // 2], p95, times[-1]))
    await database.close()
    return found


if __name__ == "__main__":
    import sys

    with opened(sys.argv[1], Path(sys.argv[2])) as where:
        asyncio.run(fill(where, int(sys.argv[3])))
