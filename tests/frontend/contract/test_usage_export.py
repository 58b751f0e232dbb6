"""A table of usage that is longer than one answer, and one without rows."""

import csv
import io
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from frontend.store.database import Database
from frontend.store.location import Location
from frontend.store.tables import usage_hourly
from tests.support.campus import Campus, run, run_campus
from tests.support.databases import Databases

_ROWS, _HOUR_US = 20_100, 3_600_000_000
_MODEL = "=cmd ~ü"


@pytest.fixture
def campus(databases: Databases, tmp_path: Path) -> Iterator[Campus]:
    location = databases.sqlite()
    with run_campus(location, tmp_path) as running:
        run(_fill(location))
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


def test_a_table_without_rows_has_the_same_columns(campus: Campus) -> None:
    path = "/admin/usage?format=csv&by=user_id"
    full = campus.ask("admin", "GET", path)
    empty = campus.ask("admin", "GET", f"{path}&start=2001-01-01&end=2001-01-02")
    assert empty.text == full.text.partition("\r\n")[0] + "\r\n"
    assert len(table(full)) == 1
