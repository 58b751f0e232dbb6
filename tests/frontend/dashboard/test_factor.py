"""A second factor, set up and asked for, in Chromium."""

import base64
import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from frontend.accounts.totp import code_at
from tests.support.browser import check_accessible, check_width, needs_chromium, window
from tests.support.databases import Databases
from tests.support.echo import EchoTriton
from tests.support.processes import wait_for
from tests.support.site import Site, csrf, run_site

pytestmark = needs_chromium
PEOPLE = {"ada": "admin", "sam": "staff", "liv": "student"}


@pytest.fixture(scope="module")
def site(
    echo_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    log, flags = tmp_path_factory.mktemp("factor") / "log", ["--second-factor-roles", "staff"]
    triton = echo_triton.grpc_address
    with run_site(triton, log, databases.sqlite(), PEOPLE, {}, *flags) as running:
        yield running


def give_password(page: Page, site: Site, name: str) -> None:
    page.goto("/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(site.passwords[name])
    page.get_by_label("Password").press("Enter")


def code_of(secret: str, used: list[int]) -> str:
    """A code that was not used yet: of the next step, where that of this one was."""
    key = base64.b32decode(secret)
    step = max([int(time.time()) // 30, *(one + 1 for one in used)])
    # one step ahead is accepted; further ahead it must become time
    wait_for(lambda: int(time.time()) // 30 >= step - 1, what="the step of the code")
    used.append(step)
    return code_at(key, step)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_role_can_require_it(browser: Browser, site: Site, theme: str) -> None:
    used: list[int] = []
    with (
        window(browser, base_url=site.url, viewport={"width": 360, "height": 740}) as page,
        site.client("ada") as admin,
    ):
        page.goto("/login")
        page.get_by_label("Theme").select_option(theme)
        give_password(page, site, "sam")
        expect(page.get_by_role("heading", name="Set up a second factor")).to_be_visible()
        expect(page.locator("img.qr")).to_be_visible()
        assert page.evaluate("document.querySelector('img.qr').naturalWidth") > 100
        check_width(page)
        check_accessible(page)
        page.goto("/dashboard?interval=hour")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.goto("/login/enrol")
        secret = page.locator("#secret").inner_text()
        page.get_by_label("Code of the app").fill(code_of(secret, used))
        page.get_by_label("Code of the app").press("Enter")
        codes = page.locator("#codes").inner_text().split()
        assert len(codes) == 10
        check_accessible(page)
        page.get_by_role("link", name="Continue").press("Enter")
        expect(page.locator("#who")).to_contain_text("sam")
        assert page.url == f"{site.url}/dashboard?interval=hour"
        expect(page.locator("#account")).to_have_attribute("data-ready", "true")
        page.context.clear_cookies()
        give_password(page, site, "sam")
        expect(page.get_by_role("heading", name="Enter a code")).to_be_visible()
        check_width(page)
        check_accessible(page)
        page.get_by_label("Code of your app").fill(codes[0])
        page.get_by_label("Code of your app").press("Enter")
        expect(page.locator("#who")).to_contain_text("sam")
        expect(page.locator("#account")).to_have_attribute("data-ready", "true")
        path = f"/admin/users/{site.ids['sam']}/second-factor"
        assert admin.delete(path, headers=csrf(admin)).json()["enabled"] is False
        page.goto("/dashboard")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_first_step_opens_nothing(site: Site) -> None:
    with site.client("liv") as http, site.client() as thief:
        made = http.post(
            "/me/second-factor",
            json={"current_password": site.passwords["liv"]},
            headers=csrf(http),
        ).json()
        used: list[int] = []
        body = {"code": code_of(made["secret"], used)}
        turned_on = http.post("/me/second-factor/confirm", json=body, headers=csrf(http))
        assert turned_on.json()["enabled"] is True
        assert http.get("/me/second-factor").json()["recovery_codes_left"] == 10
        form = re.search('name="csrf" value="([0-9a-f]+)"', thief.get("/login").text)
        assert form is not None
        fields = {"name": "liv", "password": site.passwords["liv"], "csrf": form[1]}
        answer = thief.post("/login", data=fields)
        assert answer.headers["location"] == "/login/code"
        assert not {"session", "browser"} & {one.name for one in thief.cookies.jar}
        step = thief.cookies["step"]
        thief.cookies.set("session", step)
        assert thief.get("/me").status_code == 401
        for path in ("/login/password", "/login/enrol"):
            assert thief.get(path).headers["location"] == "/login"
        forged = thief.post("/login/code", data={"code": "1", "csrf": "0" * 64})
        assert forged.headers["location"] == "/login"
        page = thief.get("/login/code")
        found = re.search('name="csrf" value="([0-9a-f]+)"', page.text)
        assert found is not None
        wrong = thief.post("/login/code", data={"code": "000000", "csrf": found[1]})
        assert (wrong.status_code, "not correct" in wrong.text) == (403, True)
