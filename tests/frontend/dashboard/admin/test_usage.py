"""The page of all usage: choices are in its address, names lead on, and empty ranges say so."""

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.directory import Directory
from frontend.accounts.directory.keys import NewKey
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
STUDENTS = [f"user-{n:02}" for n in range(60)]
PEOPLE = {"root": "admin", "counter": "counter"} | dict.fromkeys(STUDENTS, "student")
MODELS = ("echo", "<b>=1+1</b>")


async def settle(directory: Directory) -> None:
    """Each user has used 100 tokens more than the one before, with a key and without one."""
    database = directory.users.changes.database
    now_us, used = time.time_ns() // 1000, []
    for n, name in enumerate(STUDENTS):
        async with database.connect() as rows:
            user = await store.USERS.find_by(rows, name=name)
        assert user is not None
        made = await directory.keys.create(OPERATOR, user.id, NewKey(f"key of {name}"))
        for at, key in enumerate(("", made.key.id)):
            owner = Owner("o", user.group_id, user.id, key)
            used.append(
                UsageRow(f"use-{n}-{at}", owner, MODELS[at], "openai", "/v1/x", "", now_us,
                         usage=Usage(50 * n + 50))
            )  # fmt: skip
    await LedgerStore(database).write(lambda books: add_usage(books, used))


@pytest.fixture(scope="module")
def site(
    echo_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    log, roles = tmp_path_factory.mktemp("usage") / "log", {"counter": ["self", "usage"]}
    triton = echo_triton.grpc_address
    with run_site(triton, log, databases.sqlite(), PEOPLE, roles, settle=settle) as running:
        yield running


def shown(page: Page, text: str) -> None:
    expect(page.locator("#totals")).to_contain_text(text)
    expect(page.locator("#view")).to_have_attribute("aria-busy", "false")


def test_the_largest_are_shown_and_each_leads_to_its_own(browser: Browser, site: Site) -> None:
    all_tokens = sum(100 * n + 100 for n in range(60))
    with site.signed_in(browser, "root") as page:
        open_admin(page, "usage")
        shown(page, f"120 requests, 0 failures, {all_tokens:,} prompt tokens")
        sums = page.get_by_role("region", name="Table of usage", exact=True)
        expect(sums.locator("tbody tr")).to_have_count(52)
        expect(sums.locator("tbody tr").first).to_contain_text("user-59")
        rest = sum(100 * n + 100 for n in range(10))
        expect(sums.get_by_role("row", name="Others")).to_contain_text(f"20{rest:,}")
        expect(page.locator("#largest .legend li")).to_have_text(
            [*(f"user-{n}" for n in range(59, 54, -1)), "others"]
        )
        sums.get_by_role("link", name="user-59").press("Enter")
        page.wait_for_url(re.compile("by=model"))
        shown(page, "2 requests, 0 failures, 6,000 prompt tokens")
        names = page.locator("#largest tbody th")
        expect(names).to_have_text([*sorted(MODELS), "All"])
        expect(page.get_by_role("searchbox", name="User")).to_have_value("user-59")
        page.go_back()
        shown(page, "120 requests")


def test_choices_are_made_by_keyboard_and_kept_in_the_address(browser: Browser, site: Site) -> None:
    with site.signed_in(browser, "root") as page:
        open_admin(page, "usage")
        page.get_by_role("searchbox", name="User").fill("user-03")
        page.get_by_role("searchbox", name="User").press("Enter")
        shown(page, "2 requests, 0 failures, 400 prompt tokens")
        page.get_by_role("combobox", name="Split by").focus()
        page.keyboard.type("key")
        expect(page.locator("#largest tbody tr")).to_contain_text(
            ["without a key: signed in", "key of user-03", "All"]
        )
        rows = page.get_by_role("region", name="Table of usage by time, user, key and model")
        expect(rows.locator("tbody tr")).to_have_count(2)
        expect(rows.locator("tbody tr").last).to_contain_text("user-03")
        page.reload()
        shown(page, "2 requests")
        expect(page.get_by_role("combobox", name="Split by")).to_have_value("key_id")
        page.get_by_role("searchbox", name="User").fill("nobody-here")
        page.get_by_role("searchbox", name="User").press("Enter")
        expect(page.locator("#problem")).to_contain_text("do not include 'nobody-here'")
        page.get_by_role("searchbox", name="User").fill("")
        page.get_by_role("searchbox", name="Model").fill("no-such-model")
        page.get_by_role("searchbox", name="Model").press("Enter")
        shown(page, "0 requests")
        expect(page.locator("#largest")).to_contain_text("no requests in this range")
        expect(page.locator("#problem")).to_be_hidden()


def test_rows_have_pages_that_begin_anew_with_each_choice(browser: Browser, site: Site) -> None:
    with site.signed_in(browser, "root") as page:
        open_admin(page, "usage")
        rows = page.get_by_role("region", name="Table of usage by time, user, key and model")
        first = rows.locator("tbody tr").first.inner_text()
        page.get_by_role("button", name="Next page").press("Enter")
        expect(page.get_by_role("button", name="Previous page")).to_be_visible()
        assert rows.locator("tbody tr").first.inner_text() != first
        page.get_by_role("combobox", name="Interval").select_option("hour")
        expect(page.get_by_role("button", name="Previous page")).to_have_count(0)
        expect(rows.locator("tbody tr").first).to_contain_text(re.compile(r"\d\d-\d\d \d\d:00"))


def test_a_role_with_this_permission_alone_sees_ids(browser: Browser, site: Site) -> None:
    with site.signed_in(browser, "counter") as page:
        open_admin(page, "usage")
        shown(page, "120 requests")
        expect(page.locator("#largest tbody tr").first).to_contain_text(site.ids["user-59"])
