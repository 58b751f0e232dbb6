"""What pages show and export of usage is what the ledger has, in ten time zones, across a change of
daylight saving. The ledger is counted here from the rows written to it."""

import csv
import io
import random
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from frontend.accounts.directory.directory import Directory
from frontend.domain.metering import Owner, UsageRow
from frontend.domain.usage import Usage
from frontend.store import accounts as store
from frontend.store.ledger.books import LedgerStore
from frontend.store.usage import add_usage
from tests.support.browser import needs_chromium
from tests.support.databases import Databases
from tests.support.echo import EchoTriton
from tests.support.site import Site, open_admin, run_site

pytestmark = needs_chromium
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
    recent = {datetime.now(UTC) - n * timedelta(hours=31): n + 1 for n in range(40)}
    for name, starts in (("tess", STARTS), ("ulla", STARTS), ("vera", recent)):
        async with database.connect() as rows:
            user = await store.USERS.find_by(rows, name=name)
        assert user is not None
        owner = Owner("o", user.group_id, user.id, "")
        used = [
            UsageRow(f"zones-{name}-{_us(start)}", owner, "echo", "openai", "/v1/x", "", _us(start),
                     usage=Usage(tokens, completion_tokens=7 if name == "ulla" else 0))
            for start, tokens in starts.items()
        ]  # fmt: skip
        await LedgerStore(database).write(lambda books, used=used: add_usage(books, used))


def _us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


@pytest.fixture(scope="module")
def site(
    echo_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    log = tmp_path_factory.mktemp("zones") / "log"
    triton = echo_triton.grpc_address
    people = {"tess": "student", "ulla": "student", "vera": "student", "root": "admin"}
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
        assert sums(exported(page)) == days


@pytest.mark.parametrize("zone", ZONES)
def test_all_usage_is_that_of_the_ledger(browser: Browser, site: Site, zone: str) -> None:
    middle = date.fromisoformat(ZONES[zone])
    first, last = middle - timedelta(days=1), middle + timedelta(days=1)
    days: Counter[tuple[str, str]] = Counter()
    for start, tokens in STARTS.items():
        day = start.astimezone(ZoneInfo(zone)).date()
        if first <= day <= last:
            days[day.isoformat()[5:], "tess"] += tokens
            days[day.isoformat()[5:], "ulla"] += tokens + 7
    with site.signed_in(browser, "root", timezone_id=zone) as page:
        open_admin(page, f"usage?from={first}&to={last}")
        expect(page.locator("#totals")).to_have_attribute("data-tokens", str(days.total()))
        rows = cells(page, "Table of usage by time, user, key and model")
        assert {(row[0], row[1]): tokens_of(row[5:7]) for row in rows} == days
        named = cells(page, "Table of usage")
        of = {name: sum(n for (_, who), n in days.items() if who == name) for name in PAIR}
        # the largest is first
        assert [row[0] for row in named] == ["ulla", "tess", "All"]
        assert {row[0]: tokens_of(row[2:4]) for row in named} == of | {"All": days.total()}
        expect(page.locator("#largest .chart .bar title")).to_have_count(2 * 3)
        drawn: Counter[str] = Counter()
        for said in page.locator("#largest .chart .bar title").all_text_contents():
            found = re.fullmatch(r"(\d\d-\d\d), \w+: ([\d,]+) tokens", said)
            assert found is not None, said
            drawn[found[1]] += int(found[2].replace(",", ""))
        assert drawn.total() == days.total()
        ids = {site.ids[name]: name for name in PAIR}
        saved: Counter[tuple[str, str]] = Counter()
        for row in exported(page):
            both = int(row["prompt_tokens"]) + int(row["completion_tokens"])
            saved[row["start"][5:10], ids[row["user_id"]]] += both
        assert saved == days


PAIR = ("tess", "ulla")


def cells(page: Page, table: str) -> list[list[str]]:
    """The texts of the table's rows."""
    shown: list[list[str]] = (
        page.get_by_role("region", name=table, exact=True)
        .locator("tbody tr")
        .evaluate_all("rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))")
    )
    return shown


def tokens_of(texts: list[str]) -> int:
    return sum(int(text.replace(",", "")) for text in texts)


def test_what_is_known_of_a_user_has_the_sums_of_the_ledger(browser: Browser, site: Site) -> None:
    with site.client("root") as http, site.signed_in(browser, "root") as page:
        totals = http.get(f"/admin/usage?user_id={site.ids['vera']}").json()["totals"]
        # 31 hours apart: those of the last thirty days
        assert totals["requests"] == 24
        assert totals["prompt_tokens"] == sum(range(1, 25))
        open_admin(page, "users")
        page.get_by_role("button", name="vera", exact=True).click()
        shown = page.get_by_role("dialog", name="vera").locator("dl").nth(1)
        expect(shown).to_contain_text("Requests24")
        expect(shown).to_contain_text("Prompt tokens300")


def exported(page: Page) -> list[dict[str, str]]:
    """The rows of the file that the page saves."""
    with page.expect_download() as saving:
        page.get_by_role("link", name="Export as CSV").press("Enter")
    assert saving.value.suggested_filename == "usage.csv"
    return [*csv.DictReader(io.StringIO(saving.value.path().read_text()))]


def sums(rows: list[dict[str, str]]) -> Counter[str]:
    """Prompt tokens by day, as the page's table has them."""
    days: Counter[str] = Counter()
    for row in rows:
        days[row["start"][5:10]] += int(row["prompt_tokens"])
    return days


def test_an_export_of_several_answers_is_one_file(browser: Browser, site: Site) -> None:
    with site.signed_in(browser, "tess", timezone_id="Asia/Kolkata") as page:
        page.goto("/dashboard?from=2026-03-06&to=2026-04-06")
        expect(page.locator("#account")).to_have_attribute("data-ready", "true")
        whole = exported(page)
        assert len(whole) == 32

        def cut(route: Route) -> None:
            """The answer as if ten rows were the most that one has."""
            asked, _, after = route.request.url.partition("&after=")
            answer = route.fetch(url=asked)
            head, *rows = answer.text().splitlines(keepends=True)
            first = int(after or 0)
            more = {"x-next-after": str(first + 10)} if first + 10 < len(rows) else {}
            route.fulfill(body="".join([head, *rows[first : first + 10]]),
                          headers={**answer.headers, **more})  # fmt: skip

        page.route("**/me/usage?*format=csv*", cut)
        assert exported(page) == whole
