"""Signing in with a real OpenID provider, in Chromium; attacks on the way back; a provider that is
down."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import check_accessible, check_width, needs_chromium, window
from tests.support.databases import Databases
from tests.support.echo import EchoTriton
from tests.support.oidc import CLIENT, SECRET, run_provider
from tests.support.processes import free_port
from tests.support.site import BROWSER, Site, csrf, open_admin, run_site

pytestmark = needs_chromium
MIRA = {"sub": "m1", "preferred_username": "mira", "email": "mira@example.org", "groups": ["gpu"]}
NINA = {"sub": "n1", "preferred_username": "nina", "email": "nina@example.org"}
OTTO = {"sub": "o1", "preferred_username": "otto", "email": "otto@example.org"}
EVIL = '"><img src=x onerror=alert(1)>${1}{{1}}'
EVA = {"sub": f"e1{EVIL}", "preferred_username": EVIL, "name": EVIL, "email": f"{EVIL}@example.org",
       "groups": [EVIL, "a\r\nset-cookie: stolen=1"]}  # fmt: skip
PEOPLE = {"ada": "admin", "liv": "student"}


@pytest.fixture(scope="module")
def site(
    echo_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("single")
    (folder / "secret").write_text(SECRET)
    with run_provider(MIRA, NINA, OTTO, EVA) as issuer:
        flags = ["--oidc-issuer", issuer, "--oidc-client-id", CLIENT, "--oidc-name", "the campus"]
        flags += ["--oidc-client-secret-file", str(folder / "secret"), "--oidc-unknown", "create"]
        flags += ["--oidc-groups", "gpu=staff"]
        triton = echo_triton.grpc_address
        with run_site(triton, folder / "log", databases.sqlite(), PEOPLE, {}, *flags) as running:
            yield running


def without_others(page: Page) -> None:
    """The provider's pages ask other hosts for their styles, and their own for an icon."""
    empty = re.compile(r"^https://|/favicon.ico$")
    page.route(empty, lambda route: route.fulfill(status=200, body=""))


def choose(page: Page, subject: str) -> None:
    """Signs in at the provider's page."""
    expect(page.get_by_role("heading", name="Authorize Client")).to_be_visible()
    page.get_by_placeholder("sub").fill(subject)
    page.get_by_role("button", name="Authorize").click()


def test_the_whole_flow_in_a_browser(browser: Browser, site: Site) -> None:
    size = {"width": 360, "height": 740}
    with window(browser, base_url=site.url, viewport=size) as page:
        without_others(page)
        page.goto("/dashboard?from=2026-01-02")
        link = page.get_by_role("link", name="Sign in with the campus")
        check_accessible(page)
        check_width(page)
        link.press("Enter")
        choose(page, "m1")
        expect(page.locator("#who")).to_contain_text("mira, with the role staff")
        assert page.url == f"{site.url}/dashboard?from=2026-01-02"
        assert {one["name"] for one in page.context.cookies(site.url)} >= {"session", "csrf", "via"}
        expect(page.locator("#account")).to_have_attribute("data-ready", "true")
        page.get_by_role("button", name="Sign out").click()
        # the provider's own page for the end of its session
        page.wait_for_url("**/oauth2/end_session**")


def test_an_account_is_linked_by_who_is_signed_in(browser: Browser, site: Site) -> None:
    with site.signed_in(browser, "liv") as page:
        without_others(page)
        page.goto("/login/oidc?link=1")
        choose(page, "n1")
        expect(page.locator("#who")).to_contain_text("liv")
        expect(page.locator("#account")).to_have_attribute("data-ready", "true")
    with window(browser, base_url=site.url) as page:
        without_others(page)
        page.goto("/login/oidc")
        choose(page, "n1")
        expect(page.locator("#who")).to_contain_text("liv")
        expect(page.locator("#account")).to_have_attribute("data-ready", "true")


def code_for(http: httpx2.Client, subject: str) -> str:
    """Goes to the provider; the address of the callback that it sends the browser to."""
    place = http.get("/login/oidc").headers["location"]
    answer = httpx2.post(place, data={"sub": subject})
    assert answer.status_code == 302
    return str(answer.headers["location"])


def test_answers_that_this_browser_did_not_ask_for_are_refused(site: Site) -> None:
    with site.client() as mine, site.client() as other:
        callback = code_for(mine, "o1")
        state = parse_qs(urlsplit(callback).query)["state"][0]
        stolen = other.get(callback)
        assert (stolen.status_code, "did not begin in this browser" in stolen.text) == (403, True)
        forged = mine.get(callback.replace(state, "x" * len(state)))
        assert forged.status_code == 403
        # after which the sign-in is over, also for the right answer
        assert mine.get(callback).status_code == 403
        callback = code_for(mine, "o1")
        assert mine.get(callback).headers["location"] == "/dashboard"
        assert mine.get("/me").json()["name"] == "otto"
        session = mine.cookies["session"]
        assert mine.get(callback).status_code == 403, "a second time"
        assert mine.cookies["session"] == session
        # the code of one sign-in in the answer of another: the nonce is not right
        first, second = code_for(other, "o1"), code_for(other, "o1")
        codes = [parse_qs(urlsplit(one).query)["code"][0] for one in (first, second)]
        mixed = other.get(second.replace(codes[1], codes[0]))
        assert (mixed.status_code, "ID token is not valid" in mixed.text) == (403, True)
        assert "session" not in other.cookies
        http = other.get("/login/oidc/callback?error=access_denied&state=x")
        assert http.status_code == 403


def test_what_the_provider_says_of_a_person_is_text(browser: Browser, site: Site) -> None:
    with window(browser, base_url=site.url) as page:
        without_others(page)
        page.on("dialog", lambda asked: pytest.fail(f"a script ran: {asked.message}"))
        page.goto("/login/oidc")
        choose(page, str(EVA["sub"]))
        expect(page.locator("#who")).to_contain_text("with the role student")
        expect(page.locator("#account")).to_have_attribute("data-ready", "true")
        assert page.locator("img[src=x], [onerror]").count() == 0
        assert "stolen" not in {one["name"] for one in page.context.cookies(site.url)}
    shown = 0
    with site.signed_in(browser, "ada") as page:
        page.on("dialog", lambda asked: pytest.fail(f"a script ran: {asked.message}"))
        for name in ("users", "changes"):
            open_admin(page, name)
            for link in page.locator("#view tbody button.link").all():
                link.click()
                expect(page.get_by_role("dialog")).to_be_visible()
                assert page.locator("img[src=x], [onerror]").count() == 0
                shown += "<img src=x" in page.get_by_role("dialog").inner_text()
                page.keyboard.press("Escape")
    assert shown, "the claims are shown"


def test_a_session_of_before_does_not_become_that_of_who_signs_in(site: Site) -> None:
    with site.client() as mine:
        mine.cookies.set("session", "A" * 43)
        assert mine.get(code_for(mine, "o1")).status_code == 303
        fixed = httpx2.get(f"{site.url}/me", headers={"cookie": f"session={'A' * 43}"})
        assert fixed.status_code == 401
        assert "A" * 43 not in {one.value for one in mine.cookies.jar if one.domain}


def test_failures_and_sign_ins_are_events(site: Site) -> None:
    with site.client() as mine, site.client("ada") as admin:
        assert mine.get("/login/oidc/callback?state=x&code=y").status_code == 403
        assert mine.get(code_for(mine, "o1")).status_code == 303
        for action, method in (("sign_in", "oidc"), ("sign_in", "password"), ("refuse", "oidc")):
            found = admin.get(f"/admin/events?action=sessions.{action}").json()["data"]
            assert method in {one["details"]["method"] for one in found}


def test_while_the_provider_is_down_a_password_works(
    echo_triton: EchoTriton, databases: Databases, tmp_path: Path
) -> None:
    issuer = f"http://127.0.0.1:{free_port()}"
    flags = ["--oidc-issuer", issuer, "--oidc-client-id", CLIENT]
    triton = echo_triton.grpc_address
    with (
        run_site(triton, tmp_path / "log", databases.sqlite(), PEOPLE, {}, *flags) as site,
        httpx2.Client(base_url=site.url, headers=BROWSER) as http,
    ):
        answer = http.get("/login/oidc")
        assert answer.status_code == 503
        assert "sign in with a name and a password" in answer.text
        with site.client("ada") as signed_in:
            assert signed_in.get("/me").status_code == 200
            assert signed_in.post("/logout", headers=csrf(signed_in)).json() == {"signed_out": True}
