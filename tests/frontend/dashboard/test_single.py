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
from tests.support.site import BROWSER, Site, csrf, run_site

pytestmark = needs_chromium
MIRA = {"sub": "m1", "preferred_username": "mira", "email": "mira@example.org", "groups": ["gpu"]}
NINA = {"sub": "n1", "preferred_username": "nina", "email": "nina@example.org"}
OTTO = {"sub": "o1", "preferred_username": "otto", "email": "otto@example.org"}
PEOPLE = {"ada": "admin", "liv": "student"}


@pytest.fixture(scope="module")
def site(
    echo_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("single")
    (folder / "secret").write_text(SECRET)
    with run_provider(MIRA, NINA, OTTO) as issuer:
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
