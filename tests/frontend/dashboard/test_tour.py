"""Every page with much on it, in both themes and at two widths: nothing violates WCAG 2.2 AA or
is wider than the window. With `PAGES_SCREENSHOTS`, pictures of all of them are kept."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from playwright.sync_api import Request as PageRequest
from playwright.sync_api import Route as PageRoute

from frontend.accounts.directory.directory import Directory
from frontend.dashboard.admin.sections import SECTIONS
from frontend.domain.metering import Owner, UsageRow
from frontend.domain.usage import Usage
from frontend.http.routing import Routes
from frontend.store import accounts as store
from frontend.store.ledger.books import LedgerStore
from frontend.store.usage import add_usage
from frontend.table import AREAS
from tests.support.browser import check_accessible, check_width, needs_chromium, window
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, script
from tests.support.routes import routes
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
        make("/admin/organisations", name="institute")
        make("/admin/roles", name="guest", permissions=["self"])
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


@contextmanager
def of_the_api(page: Page, folder: Path) -> Iterator[None]:
    """Fails for what a page reads from anything but a documented route for programs."""
    table, asked = Routes(routes(folder), AREAS), set[tuple[str, str]]()

    def note(request: PageRequest) -> None:
        if request.resource_type in ("fetch", "eventsource", "xhr"):
            asked.add((request.method, urlsplit(request.url).path))

    page.on("request", note)
    yield
    known = httpx2.get(urljoin(page.url, "/docs/api")).json()["paths"]
    for method, path in asked:
        route, _ = table.find(method, path)
        answers = known[route.path.replace(":path", "")][method.lower()]["responses"]
        kinds = {kind for one in answers.values() for kind in one.get("content", {})}
        assert "text/html" not in kinds, (method, path)
    assert asked


@pytest.mark.parametrize("third", [0, 1, 2])
def test_pages_of_administrators(browser: Browser, site: Site, third: int, tmp_path: Path) -> None:
    with (
        site.signed_in(browser, "root", viewport=DESK) as page,
        of_the_api(page, tmp_path),
    ):
        for name in NAMES[third::3]:
            open_admin(page, name)
            # charts come after the tables
            expect(page.locator("#view .place")).to_have_count(0)
            look(page)


def test_what_is_sent_before_scripts_run_has_nobodys_data(site: Site) -> None:
    secret = (*site.ids.values(), "student-0", "computational-physics", "rack-2", LONG, "thesis")
    places = ["/dashboard", "/playground", *(one.address for _, all_ in SECTIONS for one in all_)]
    with site.client("root") as http:
        for path in places:
            page = http.get(path)
            assert page.status_code == 200
            assert not [one for one in secret if one in page.text], path


def test_lists_without_entries_explain_themselves(browser: Browser, site: Site) -> None:
    def empty(route: PageRoute) -> None:
        answer = route.fetch()
        body = answer.json()
        if isinstance(body.get("data"), list):
            body |= {"data": [], "has_more": False, "next_after": None}
        route.fulfill(response=answer, json=body)

    explained = 0
    with site.signed_in(browser, "root", viewport=DESK) as page:
        page.route(re.compile(r"^http://[^/]+/admin/(?!pages|live|metrics)[a-z]"), empty)
        for name in NAMES:
            open_admin(page, name)
            for one in page.locator("#view .empty").all():
                assert len(one.inner_text().split()) >= 4, (name, one.inner_text())
                explained += 1
            lists = page.locator("#view > section[aria-busy]").count()
            assert page.locator("#view > section[aria-busy] .empty").count() == lists, name
    assert explained >= len(NAMES) - 3


@pytest.mark.parametrize("name", ["tess", "fresh"])
def test_the_account_full_and_empty(
    browser: Browser, site: Site, name: str, tmp_path: Path
) -> None:
    with site.signed_in(browser, name, viewport=DESK) as page, of_the_api(page, tmp_path):
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


def look_at_dialog(page: Page, button: str, fill: str = "") -> None:
    """A dialog in both themes and widths. `fill`: for its first field, and is refused."""
    for theme in ("light", "dark"):
        page.get_by_label("Theme").select_option(theme)
        page.get_by_role("button", name=button, exact=True).first.click()
        shown = page.get_by_role("dialog")
        expect(shown).to_be_visible()
        if fill:
            shown.get_by_role("textbox").first.fill(fill)
            shown.get_by_role("textbox").first.press("Enter")
            expect(shown.get_by_role("alert")).to_be_visible()
        for size in (TELEPHONE, DESK):
            page.set_viewport_size(size)
            check_width(page)
            check_accessible(page)
        page.keyboard.press("Escape")
        expect(shown).to_be_hidden()


def test_dialogs_and_refused_actions(browser: Browser, site: Site) -> None:
    with site.signed_in(browser, "root", viewport=DESK, expected=["400", "409"]) as page:
        open_admin(page, "users")
        look_at_dialog(page, "Delete student-003")
        look_at_dialog(page, "student-003")
        look_at_dialog(page, "New user", "a name with spaces")
        open_admin(page, "roles")
        look_at_dialog(page, "New role", "admin")


def test_what_is_said_when_the_gateway_refuses(browser: Browser, site: Site) -> None:
    said = "the database does not answer; try again in 5 s"
    with site.signed_in(browser, "root", viewport=DESK, expected=["503"]) as page:
        refused = {"error": {"message": said, "type": "server_error"}}
        page.route("**/admin/groups?*", lambda route: route.fulfill(status=503, json=refused))
        page.goto("/admin/pages/groups")
        expect(page.get_by_role("alert")).to_contain_text(said.capitalize())
        look(page)


def test_the_steps_of_a_first_sign_in(browser: Browser, site: Site) -> None:
    with site.client("root") as http:
        new = {"name": "newcomer", "role": "student"}
        user = http.post("/admin/users", json=new, headers=csrf(http)).json()["id"]
        path = f"/admin/users/{user}/password"
        once = http.post(path, headers=csrf(http)).json()["password"]
    refused = ["400", "403"]
    with window(browser, base_url=site.url, viewport=DESK, expected=refused) as page:
        page.goto("/login")
        for password in ("not the password", once):
            page.get_by_label("Name").fill("newcomer")
            page.get_by_label("Password").fill(password)
            page.get_by_label("Password").press("Enter")
            if password != once:
                expect(page.get_by_role("alert")).to_be_visible()
                look(page)
        expect(page.get_by_role("heading", name="Choose a password")).to_be_visible()
        look(page)
        page.get_by_label("New password").fill(once)
        page.get_by_label("New password").press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("another one")
        look(page)


HARMLESS = {"/enable", "/drain", "/refresh", "/load"}
"""Ends of the paths of what a button may do at once: it ends no request, and the button beside it
undoes it."""


def press_each(page: Page, sent: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Presses a button of each name and list; (method, path) of what is sent after a question."""
    found = [page.locator("#tools"), *page.locator("#view > section").all()]
    return set().union(*(press(page, one.locator("button[type=button]"), sent) for one in found))


def press(page: Page, buttons: Locator, sent: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """The same for the buttons of a list."""
    confirmed = set()
    for text in dict.fromkeys(buttons.all_text_contents()):
        one = buttons.filter(has_text=re.compile(f"^{re.escape(text)}$")).first
        if not one.count():
            continue  # it was on another page of a list
        sent.clear()
        handle = one.element_handle()
        one.click()
        page.wait_for_function(
            "(one) => document.querySelector('dialog[open]') || one.ariaDisabled !== 'true'",
            arg=handle,
        )
        at_once = [path for _, path in sent]
        assert all(path.endswith(tuple(HARMLESS)) for path in at_once), (page.url, text, at_once)
        shown = page.get_by_role("dialog")
        if not shown.count():
            continue
        danger = shown.locator("button.main.danger")
        if danger.count():
            # a key that is pressed by mistake destroys nothing, or is written into a field
            if not shown.locator("input, select, textarea").count():
                expect(shown.get_by_role("button", name="Cancel")).to_be_focused()
            with page.expect_request(lambda asked: asked.method != "GET") as asked:
                danger.click()
            confirmed.add((asked.value.method, urlsplit(asked.value.url).path))
        while shown.count():
            page.keyboard.press("Escape")
    return confirmed


def test_what_destroys_is_asked_about_first(browser: Browser, site: Site, tmp_path: Path) -> None:
    sent: list[tuple[str, str]] = []
    confirmed: set[tuple[str, str]] = set()

    def refuse(route: PageRoute) -> None:
        if route.request.method == "GET" or route.request.url.endswith("/charts"):
            route.fallback()
            return
        sent.append((route.request.method, urlsplit(route.request.url).path))
        route.fulfill(status=503, json={"error": {"message": "refused by the test"}})

    with site.signed_in(browser, "root", viewport=DESK, expected=["503"]) as page:
        page.route("**/*", refuse)
        for name in NAMES:
            open_admin(page, name)
            confirmed |= press_each(page, sent)
    table = Routes(routes(tmp_path), AREAS)
    asked = {(method, table.find(method, path)[0].path) for method, path in confirmed}
    # in what is known of a user, which test_pages opens
    elsewhere = {("DELETE", "/admin/users/{id}/second-factor")}
    destroying = {
        (one.method, one.path)
        for one in table.all
        if one.method == "DELETE" and one.path.startswith("/admin/")
    }
    missing = destroying - elsewhere - asked
    assert not missing, missing
    assert ("POST", "/admin/cache/purge") in asked
