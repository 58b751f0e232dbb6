"""A table of usage that is longer than one answer, and one without rows."""

import asyncio
import csv
import io
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from frontend.dialects.admin.usage import render_csv
from frontend.domain.metering import Owner, UsageRow
from frontend.domain.usage import Usage
from frontend.store.database import Database
from frontend.store.ledger.books import LedgerStore
from frontend.store.location import Location
from frontend.store.tables import usage_hourly
from frontend.store.usage import add_usage
from tests.support.campus import Campus, run_campus
from tests.support.databases import Databases

_ROWS, _HOUR_US = 20_100, 3_600_000_000
_MODEL = "=cmd ~ü"


@pytest.fixture
def campus(databases: Databases, tmp_path: Path) -> Iterator[Campus]:
    location = databases.sqlite()
    with run_campus(location, tmp_path) as running:
        asyncio.run(_fill(location))
        yield running


async def _fill(location: Location) -> None:
    hour_us = int(time.time() * 1e6) // _HOUR_US * _HOUR_US
    owner = {"organisation_id": "o", "group_id": "g", "user_id": "u", "model": _MODEL}
    rows = [
        {"hour_at_us": hour_us, **owner, "key_id": f"k{number:06}", "requests": 1}
        for number in range(_ROWS)
    ]
    database = Database(location)
    async with database.begin() as connection:
        await connection.execute(usage_hourly.insert(), rows)
    await database.close()


def table(answer: httpx2.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return [*csv.DictReader(io.StringIO(answer.text))]


def test_a_long_table_says_that_it_goes_on(campus: Campus) -> None:
    path = "/admin/usage?format=csv&by=key_id,model"
    first = campus.ask("admin", "GET", path)
    after = first.headers["x-next-after"]
    second = campus.ask("admin", "GET", f"{path}&after={after}")
    assert "x-next-after" not in second.headers
    rows = [*table(first), *table(second)]
    assert [row["key_id"] for row in rows] == [f"k{number:06}" for number in range(_ROWS)]
    assert {row["model"] for row in rows} == {f"'{_MODEL}"}, "a spreadsheet must not run it"


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("x")']
)
def test_no_cell_is_a_formula(text: str) -> None:
    """Names of models come from upstreams, so they may be anything."""
    row = {"start": "2026-11-01T00:00:00Z", "start_us": 1, "model": text, "requests": -1}
    table = render_csv([row], ["model"], ["requests"]).decode()
    (read,) = csv.DictReader(io.StringIO(table, newline=""))
    assert read["model"] == "'" + text
    assert read["requests"] == "-1", "a number is not text"


def test_a_table_without_rows_has_the_same_columns(campus: Campus) -> None:
    path = "/admin/usage?format=csv&by=user_id"
    full = campus.ask("admin", "GET", path)
    empty = campus.ask("admin", "GET", f"{path}&start=2001-01-01&end=2001-01-02")
    assert empty.text == full.text.partition("\r\n")[0] + "\r\n"
    assert len(table(full)) == 1


def test_the_largest_come_first_and_the_totals_are_of_all(
    databases: Databases, tmp_path: Path
) -> None:
    used = {f"k{number}": number * 37 % 100 for number in range(60)} | {"": 5000}

    async def fill() -> None:
        database = Database(location)
        owner = Owner("o", "g", "u", "")
        now_us = time.time_ns() // 1000
        rows = [
            UsageRow(f"big-{key}", replace(owner, key=key), "m", "openai", "/v1/x", "", now_us,
                     usage=Usage(tokens))
            for key, tokens in used.items()
        ]  # fmt: skip
        await LedgerStore(database).write(lambda books: add_usage(books, rows))
        await database.close()

    location = databases.sqlite()
    with run_campus(location, tmp_path) as campus:
        asyncio.run(fill())
        path = "/admin/usage?user_id=u&interval=total&by=key_id&order=tokens"
        page = campus.ask("admin", "GET", f"{path}&limit=10").json()
        largest = sorted(used.values(), reverse=True)[:10]
        assert [row["prompt_tokens"] for row in page["data"]] == largest
        assert (page["has_more"], page["next_after"]) == (True, None)
        assert page["totals"]["prompt_tokens"] == sum(used.values())
        # usage of pages has no key, and can be asked for
        nameless = campus.ask("admin", "GET", "/admin/usage?user_id=u&key_id=&interval=total")
        assert nameless.json()["totals"]["prompt_tokens"] == 5000
        for wrong in ("interval=day", "interval=total&format=csv", "interval=total&after=1~k~m"):
            answer = campus.ask("admin", "GET", f"/admin/usage?order=tokens&{wrong}")
            assert answer.json()["error"]["param"] == "order", answer.text
        answer = campus.ask("admin", "GET", "/admin/usage?interval=total&order=price")
        assert "must be one of time, tokens, requests, credits" in answer.text
