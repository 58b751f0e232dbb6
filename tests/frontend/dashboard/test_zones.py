"""What the account's page shows of usage is what the ledger has, in ten time zones, across a change
of daylight saving. The ledger is counted here by itself, from the rows that were written to it."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, expect

from frontend.accounts.directory.directory import Directory
from frontend.domain.metering import Owner, UsageRow
from frontend.domain.usage import Usage
from frontend.store import accounts as store
from frontend.store.ledger.books import LedgerStore
from frontend.store.usage import add_usage
from tests.support.browser import needs_chromium
from tests.support.databases import Databases
from tests.support.echo import EchoTriton
from tests.support.site import Site, run_site

pytestmark = [pytest.mark.timeout(240), needs_chromium]
# with the day of a change, where there is one: of half an hour on Lord Howe Island
ZONES = {
    "Europe/Berlin": "2026-03-29",
    "Europe/London": "2026-03-29",
    "America/New_York": "2026-03-08",
    "America/St_Johns": "2026-03-08",
    "Australia/Lord_Howe": "2026-04-05",
    "Pacific/Auckland": "2026-04-05",
    "Pacific/Kiritimati": "2026-03-15",
    "Asia/Kathmandu": "2026-03-29",
    "Asia/Kolkata": "2026-03-29",
    "America/Los_Angeles": "2026-03-08",
}
_FIRST = datetime(2026, 3, 5, 0, 7, tzinfo=UTC)
_STEP = timedelta(hours=1, minutes=43)
_USED = random.Random(1)
STARTS = {_FIRST + n * _STEP: _USED.randrange(1, 9999) for n in range(480)}


async def settle(directory: Directory) -> None:
    database = directory.users.changes.database
    async with database.connect() as rows:
        user = await store.USERS.find_by(rows, name="tess")
    assert user is not None
    owner = Owner("o", user.group_id, user.id, "")
    used = [
        UsageRow(f"zones-{_us(start)}", owner, "echo", "openai", "/v1/x", "", _us(start),
                 usage=Usage(tokens))
        for start, tokens in STARTS.items()
    ]  # fmt: skip
    await LedgerStore(database).write(lambda books: add_usage(books, used))


def _us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


@pytest.fixture(scope="module")
def site(
    echo_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    log = tmp_path_factory.mktemp("zones") / "log"
    triton, people = echo_triton.grpc_address, {"tess": "student"}
    with run_site(triton, log, databases.sqlite(), people, {}, settle=settle) as running:
        yield running


@pytest.mark.parametrize("zone", ZONES)
def test_days_and_totals_are_those_of_the_ledger(browser: Browser, site: Site, zone: str) -> None:
    middle = date.fromisoformat(ZONES[zone])
    first, last = middle - timedelta(days=1), middle + timedelta(days=1)
    days: Counter[str] = Counter()
    for start, tokens in STARTS.items():
        day = start.astimezone(ZoneInfo(zone)).date()
        if first <= day <= last:
            days[day.isoformat()[5:]] += tokens
    with site.signed_in(browser, "tess", timezone_id=zone) as page:
        page.goto(f"/dashboard?from={first}&to={last}")
        expect(page.locator("#totals")).to_have_attribute("data-tokens", str(days.total()))
        expect(page.locator("#account")).to_have_attribute("data-ready", "true")
        shown = page.locator("#usage details tbody tr").evaluate_all(
            "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
        )
        assert {row[0]: int(row[3].replace(",", "")) for row in shown} == days
