"""Every page with much on it, in both themes and at two widths: nothing violates WCAG 2.2 AA or
is wider than the window. With `PAGES_SCREENSHOTS`, pictures of all of them are kept."""

import time
from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from frontend.accounts.directory.directory import Directory
from frontend.dashboard.admin.sections import SECTIONS
from frontend.domain.metering import Owner, UsageRow
from frontend.domain.usage import Usage
from frontend.store import accounts as store
from frontend.store.ledger.books import LedgerStore
from frontend.store.usage import add_usage
from tests.support.browser import check_accessible, check_width, needs_chromium, window
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, script
from tests.support.site import Site, csrf, open_admin, run_site

pytestmark = needs_chromium
PEOPLE = {"root": "admin", "tess": "student", "fresh": "student"}
NAMES = [page.name for _, pages in SECTIONS for page in pages]
LONG = "a-key-whose-name-is-longer-than-its-column-on-a-telephone"
TELEPHONE, DESK = {"width": 360, "height": 740}, {"width": 1280, "height": 800}


async def settle(directory: Directory) -> None:
    """Requests of thirty days, of two users, to eight models."""
    database = directory.users.changes.database
    async with database.connect() as rows:
        people = [await store.USERS.find_by(rows, name=name) for name in ("tess", "root")]
    now_us = time.time_ns() // 1000
    used = [
        UsageRow(f"tour-{user.id}-{n}", Owner("o", user.group_id, user.id, ""), f"model-{n % 8}",
                 "openai", "/v1/x", "", now_us - n * 3_600_000_000,
                 usage=Usage(100 + 997 * n % 4000, completion_tokens=31 * n % 900))
        for user in people if user is not None for n in range(700)
    ]  # fmt: skip
    await LedgerStore(database).write(lambda books: add_usage(books, used))


@pytest.fixture(scope="module")
def site(
    echo_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    log = tmp_path_factory.mktemp("tour") / "log"
    triton, flags = echo_triton.grpc_address, ("--audit", "full", "--cache", "asked")
    flags += ("--backend-networks", "127.0.0.0/8")
    with run_site(triton, log, databases.sqlite(), PEOPLE, {}, *flags, settle=settle) as running:
        _fill(running)
        yield running


def _fill(site: Site) -> None:
    """Several of everything that lists show."""
    with site.client("root") as http, site.client("tess") as tess:

        def make(path: str, who: httpx2.Client = http, **body: object) -> dict[str, str]:
            answer = who.post(path, json=body, headers=csrf(who))
            assert answer.status_code < 300, (path, answer.text)
            made: dict[str, str] = answer.json()
            return made

        group = make("/admin/groups", name="computational-physics", weight=3)["id"]
        for n in range(12):
            make("/admin/users", name=f"student-{n:03}", role="student", group_id=group,
                 display_name=f"Student number {n}", email=f"student-{n}@example.org")  # fmt: skip
        owner, group_of = site.ids["tess"], {"scope_kind": "group", "scope_id": group}
        mine = {"scope_kind": "user", "scope_id": owner}
        make("/admin/keys", user_id=owner, name="laptop", models=["echo", "echo-*"])
        make("/me/keys", tess, name=LONG, networks=["10.0.0.0/8", "2001:db8::/32"])
        make("/admin/quotas", **group_of, measure="requests", period="day", amount=200_000)
        make("/admin/quotas", **mine, measure="tokens", period="month", amount=2_000_000)
        limits = [{"measure": "tokens", "period": "day", "amount": 100_000}]
        plan = make("/admin/plans", name="research", credits=500, quotas=limits)["id"]
        make("/admin/subscriptions", **mine, plan_id=plan)
        make("/admin/credits", **mine, credits=120, note="for the thesis")
        make("/admin/prices", model="echo", prompt=0.25, completion=1.5)
        make("/me/quota-requests", tess, amount=5_000_000, reason="A larger corpus is to be read.")
        for n in range(3):
            body = {"name": f"guest-{n}", "email": f"guest-{n}@example.org", "reason": "A course."}
            assert httpx2.post(f"{site.url}/key-requests", json=body).status_code == 202
        make("/admin/backends/register", name="rack-2", engine="vllm", url="http://127.0.0.1:9/v1")
        targets = [{"model": "echo", "percent": 100}]
        make("/admin/canaries", model="trial", targets=targets)
        for n in range(8):
            messages = script(text=f"answer number {n}") if n % 4 else []
            tess.post("/v1/chat/completions", json={"model": "echo", "messages": messages},
                      headers=csrf(tess))  # fmt: skip


def look(page: Page) -> None:
    """Both themes at the width of a desk, and the one chosen last on a telephone."""
    for theme in ("light", "dark"):
        page.get_by_label("Theme").select_option(theme)
        check_accessible(page)
    page.set_viewport_size(TELEPHONE)
    check_width(page)
    check_accessible(page)
    page.set_viewport_size(DESK)


def account(page: Page) -> None:
    page.goto("/dashboard")
    expect(page.locator("#account")).to_have_attribute("data-ready", "true")
    # the chart comes after the tables
    expect(page.locator("#usage .place")).to_have_count(0)


@pytest.mark.parametrize("third", [0, 1, 2])
def test_pages_of_administrators(browser: Browser, site: Site, third: int) -> None:
    with site.signed_in(browser, "root", viewport=DESK) as page:
        for name in NAMES[third::3]:
            open_admin(page, name)
            look(page)


@pytest.mark.parametrize("name", ["tess", "fresh"])
def test_the_account_full_and_empty(browser: Browser, site: Site, name: str) -> None:
    with site.signed_in(browser, name, viewport=DESK) as page:
        account(page)
        look(page)


@pytest.mark.parametrize("path", ["/", "/login", "/request-key", "/nothing-here"])
def test_pages_for_everybody(browser: Browser, site: Site, path: str) -> None:
    lost = ["404"] if path == "/nothing-here" else []
    with window(browser, base_url=site.url, expected=lost, viewport=DESK) as page:
        page.goto(path)
        look(page)


def test_a_page_that_the_role_may_not_see(browser: Browser, site: Site) -> None:
    with site.signed_in(browser, "tess", expected=["403"], viewport=DESK) as page:
        page.goto("/admin")
        expect(page.get_by_role("heading", name="No access")).to_be_visible()
        look(page)


def test_the_playground_with_answers(browser: Browser, site: Site) -> None:
    with site.signed_in(browser, "tess", viewport=DESK) as page:
        page.goto("/playground")
        look(page)  # before the first message
        message = page.get_by_label("Message")
        expect(page.get_by_role("button", name="Send", exact=True)).to_be_enabled()
        for text in ("hello there", "What is the capital of France? " * 12):
            message.fill(text)
            message.press("Control+Enter")
            expect(page.locator("#chat-facts")).to_contain_text("tokens/s")
            expect(page.get_by_role("button", name="Send", exact=True)).to_be_enabled()
        page.locator("#panel-chat .request summary").click()
        look(page)
        page.get_by_role("tab", name="Completion").click()
        page.get_by_role("button", name="Complete").click()
        page.locator(".token").first.click()
        look(page)
        page.get_by_role("tab", name="Embeddings").click()
        page.get_by_role("button", name="Compare").click()
        expect(page.locator(".matrix tbody tr")).to_have_count(3)
        look(page)
        page.get_by_role("tab", name="Images").click()
        page.get_by_label("Previews").fill("2")
        page.get_by_role("button", name="Generate").click()
        expect(page.locator(".pictures img")).to_be_visible()
        expect(page.get_by_role("button", name="Generate")).to_be_enabled()
        look(page)
