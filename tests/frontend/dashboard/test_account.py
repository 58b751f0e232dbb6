"""Signing in, and the page of the account, in a real Chromium and against attacks."""

import asyncio
import base64
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from frontend.accounts.directory.actor import OPERATOR
from frontend.accounts.directory.users import NewUser
from frontend.accounts.totp import code_at
from frontend.store.database import Database
from frontend.store.location import Location
from tests.support.accounts import opened
from tests.support.browser import check_accessible, check_width, needs_chromium, window
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, script
from tests.support.gateway import run_gateway
from tests.support.processes import wait_for

pytestmark = needs_chromium
SCRIPT = "<img src=x onerror=alert(1)>"
BROWSER = {"accept": "text/html, */*;q=0.8"}
HELLO = {"model": "echo", "messages": script(text="a b")}
PEOPLE = ("ada", "bob", "cat", "dan", "eve", "fay", "gus", "ian")


@dataclass
class Town:
    """A gateway, and a password for each of its people: each test has people of its own."""

    url: str
    passwords: dict[str, str]
    ids: dict[str, str]

    @contextmanager
    def client(self, name: str = "") -> Iterator[httpx2.Client]:
        """A browser without scripts, signed in where a name is given."""
        with httpx2.Client(base_url=self.url, headers=BROWSER, timeout=30) as http:
            if name:
                answer = self.submit(http, name, self.passwords[name])
                assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard")
            yield http

    def submit(self, http: httpx2.Client, name: str, password: str) -> httpx2.Response:
        found = re.search('name="csrf" value="([0-9a-f]+)"', http.get("/login").text)
        assert found is not None
        fields = {"name": name, "password": password, "csrf": found[1]}
        return http.post("/login", data=fields)


@pytest.fixture(scope="module")
def town(
    echo_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Town]:
    location = databases.sqlite()
    # Playwright has a loop of its own in this thread
    with ThreadPoolExecutor(1) as pool:
        passwords, ids = pool.submit(lambda: asyncio.run(_settle(location))).result()
    flags = ["--require-keys", "--database-url", f"sqlite:///{location.file}"]
    log = tmp_path_factory.mktemp("town") / "log"
    with run_gateway(echo_triton.grpc_address, log, *flags) as gateway:
        yield Town(gateway.url, passwords, ids)


async def _settle(location: Location) -> tuple[dict[str, str], dict[str, str]]:
    database = Database(location)
    directory = await opened(database)
    passwords, ids = {}, {}
    for name in PEOPLE:
        shown = SCRIPT if name == "ada" else ""
        new = NewUser(name, "admin" if name == "gus" else "student", display_name=shown)
        user = await directory.users.create(OPERATOR, new)
        ids[name] = user.id
        passwords[name] = await directory.users.reset_password(OPERATOR, user.id)
    await database.close()
    return passwords, ids


def sign_in(page: Page, town: Town, name: str) -> None:
    page.goto("/dashboard")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(town.passwords[name])
    page.get_by_label("Password").press("Enter")
    expect(page.locator("#who")).to_contain_text("with the role")
    expect(page.locator("#account")).to_have_attribute("data-ready", "true")


def csrf(http: httpx2.Client) -> dict[str, str]:
    return {"x-csrf-token": http.cookies["csrf"]}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_are_accessible_at_360_pixels(
    browser: Browser, town: Town, theme: str, tmp_path: Path
) -> None:
    size = {"width": 360, "height": 740}
    with window(browser, base_url=town.url, viewport=size) as page:
        page.goto("/login")
        page.get_by_label("Theme").select_option(theme)
        check_width(page)
        check_accessible(page)
        sign_in(page, town, "bob")
        check_width(page)
        check_accessible(page)


def test_keys_are_made_used_and_revoked_and_names_are_only_text(
    browser: Browser, town: Town
) -> None:
    with window(browser, base_url=town.url) as page:
        sign_in(page, town, "ada")
        expect(page.locator("#who")).to_contain_text(SCRIPT)
        expect(page.locator("#keys")).to_contain_text("no key yet")
        form = page.locator("#new-key")
        form.get_by_label("Name").fill(SCRIPT)
        form.get_by_label("Models").fill("echo")
        form.get_by_label("Routes").fill("/v1/chat/completions")
        form.get_by_label("Networks").fill("127.0.0.0/8, ::1")
        form.get_by_label("Expires").fill("2099-01-01T00:00")
        form.get_by_label("Token budget").fill("1000")
        form.get_by_role("button").press("Enter")
        made = page.locator("#made pre")
        expect(made).to_have_text(re.compile("^tt-"))
        bearer = {"authorization": f"Bearer {made.inner_text()}"}
        url = f"{town.url}/v1/chat/completions"
        assert httpx2.post(url, json=HELLO, headers=bearer).status_code == 200
        expect(page.locator("#keys tbody tr")).to_contain_text(SCRIPT)
        row = page.locator("#keys tbody tr")
        expect(row).to_contain_text("routes /v1/chat/completions; from 127.0.0.0/8, ::1")
        assert httpx2.get(f"{town.url}/v1/models", headers=bearer).status_code == 403
        assert page.locator("img[src=x]").count() == 0
        check_accessible(page)
        page.get_by_role("button", name="Rotate").click()
        page.get_by_role("button", name="Continue").click()
        expect(made).not_to_have_text(bearer["authorization"].removeprefix("Bearer "))
        page.get_by_role("button", name="Revoke").click()
        page.get_by_role("button", name="Cancel").press("Enter")
        expect(page.locator("#keys tbody tr")).to_have_count(1)
        page.get_by_role("button", name="Revoke").click()
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("#keys")).to_contain_text("no key yet")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.goto("/dashboard")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_playground_counts_for_who_is_signed_in(browser: Browser, town: Town) -> None:
    with window(browser, base_url=town.url) as page:
        sign_in(page, town, "cat")
        page.goto("/playground")
        page.get_by_label("Message").fill("good morning")
        expect(page.get_by_role("button", name="Send")).to_be_enabled()
        page.get_by_label("Message").press("Control+Enter")
        expect(page.locator(".turn").nth(1)).to_contain_text("good morning")
        page.goto("/dashboard")
        expect(page.locator("#account")).to_have_attribute("data-ready", "true")
        asked = "async () => (await (await fetch('/me/usage')).json()).totals.requests"
        wait_for(lambda: page.evaluate(asked) == 1, what="the usage of the request")
        page.reload()
        expect(page.locator("#usage > .wide tbody tr")).to_contain_text("echo")
        expect(page.get_by_role("img", name="tokens of 1 request by day")).to_be_visible()
        expect(page.locator(".chart .bar rect")).to_have_count(1)
        said = page.locator(".chart .bar title").text_content()
        assert re.fullmatch(r"\d\d-\d\d, echo: [\d,]+ tokens", said or "")
        page.locator("#usage-form").get_by_label("Interval").select_option("hour")
        page.locator("#usage-form").get_by_label("Split by").select_option("key_id")
        expect(page.get_by_role("img", name="by hour, split by key")).to_be_visible()
        expect(page.locator("#usage > .wide tbody tr")).to_contain_text("this browser")
        expect(page.locator("#audit tbody tr").first).to_contain_text("echo")
        check_accessible(page)


def test_more_is_asked_for_and_a_second_factor_is_set_up(browser: Browser, town: Town) -> None:
    with window(browser, base_url=town.url) as page:
        sign_in(page, town, "dan")
        form = page.locator("#ask")
        form.get_by_label("Amount").fill("5000")
        form.get_by_label("Reason").fill(SCRIPT)
        form.get_by_label("Reason").press("Enter")
        expect(page.locator("#asked tbody tr")).to_contain_text("5,000 tokens per month")
        expect(page.locator("#asked tbody tr")).to_contain_text("pending")
        page.get_by_label("Your password").fill(town.passwords["dan"])
        page.get_by_label("Your password").press("Enter")
        expect(page.locator("#secret")).to_have_text(re.compile("^[A-Z2-7]{32}$"))
        secret = base64.b32decode(page.locator("#secret").inner_text())
        check_accessible(page)
        page.get_by_label("Code of the app").fill(code_at(secret, int(time.time()) // 30))
        page.get_by_label("Code of the app").press("Enter")
        expect(page.locator("#factor-state")).to_contain_text("10 recovery codes")
        codes = page.locator("#recovery pre").inner_text().split()
        expect(page.locator("#factor-remove")).to_be_visible()
        page.get_by_label("A code, to remove").fill(codes[0])
        page.get_by_label("A code, to remove").press("Enter")
        expect(page.locator("#factor-state")).to_contain_text("Off")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_key_is_requested_without_an_account(browser: Browser, town: Town, theme: str) -> None:
    with window(browser, base_url=town.url, viewport={"width": 360, "height": 740}) as page:
        page.goto("/")
        page.get_by_label("Theme").select_option(theme)
        page.get_by_role("link", name="Request a key").press("Enter")
        expect(page.locator("#request fieldset")).to_be_enabled()
        check_width(page)
        check_accessible(page)
        page.locator("#request").get_by_label("Name").fill(f"zoe-{theme}")
        page.get_by_label("E-mail").fill(f"zoe-{theme}@example.org")
        page.locator("#request").get_by_label("Reason").fill(SCRIPT)
        page.get_by_role("button", name="Send the request").press("Enter")
        expect(page.locator("#made-key")).to_have_text(re.compile("^tt-"))
        state = page.locator("#state")
        state.get_by_label("Id of the request").fill(page.locator("#made-id").inner_text())
        state.get_by_label("Key").fill(page.locator("#made-key").inner_text())
        state.get_by_role("button").press("Enter")
        expect(page.locator("#answer")).to_have_text("The request is pending.")
        check_accessible(page)


def test_what_writes_needs_the_token_of_the_session(town: Town) -> None:
    with town.client("dan") as http, town.client("bob") as other:
        assert http.get("/me").json()["name"] == "dan"
        for headers in ({}, {"x-csrf-token": "0" * 64}, csrf(other)):
            answer = http.post("/me/keys", json={}, headers=headers)
            assert answer.status_code == 403
            assert answer.json()["error"]["code"] == "csrf_token_missing"
            assert http.post("/logout", headers=headers).status_code == 403
        key = http.post("/me/keys", json={}, headers=csrf(http)).json()
        theirs = other.get(f"/me/keys/{key['id']}", headers=csrf(other))
        assert theirs.status_code == 404
        assert other.delete(f"/me/keys/{key['id']}", headers=csrf(other)).status_code == 404
        assert other.get("/admin/users").status_code == 403
        assert http.post("/logout", headers=csrf(http)).status_code == 200


def test_a_sign_in_leads_back_to_the_page_and_never_to_another_host(town: Town) -> None:
    for asked, place in (
        ("/dashboard?from=2026-01-01", "/dashboard?from=2026-01-01"),
        ("//evil.example", "/dashboard"),
        ("/\\evil.example", "/dashboard"),
        ("https://evil.example/", "/dashboard"),
    ):
        with town.client() as http:
            page = http.get("/login", params={"next": asked})
            found = re.search('name="csrf" value="([0-9a-f]+)"', page.text)
            assert found is not None
            fields = {"name": "bob", "password": "not the password", "csrf": found[1]}
            assert http.post("/login", data=fields).status_code == 403
            answer = town.submit(http, "bob", town.passwords["bob"])
            assert (answer.status_code, answer.headers["location"]) == (303, place)
            assert "next" not in http.cookies, "it is used once"
    with town.client() as http:
        http.cookies.set("next", "%2F%2Fevil.example")
        answer = town.submit(http, "bob", town.passwords["bob"])
        assert answer.headers["location"] == "/dashboard"


def test_a_session_is_new_at_each_sign_in_and_ends_for_good(town: Town) -> None:
    with town.client() as http:
        http.headers["cookie"] = f"session={(fixed := 'A' * 43)}"
        page = http.get("/login")
        csrf_field = re.search('name="csrf" value="([0-9a-f]+)"', page.text)
        form = re.search("form=([^;]+)", page.headers["set-cookie"])
        assert csrf_field
        assert form
        http.headers["cookie"] += f"; form={form[1]}"
        fields = {"name": "eve", "password": town.passwords["eve"], "csrf": csrf_field[1]}
        answer = http.post("/login", data=fields)
        made = re.search("session=([^;]+)", answer.headers["set-cookie"])
        assert made
        assert made[1] != fixed
        assert http.get("/me").status_code == 401, "the fixed session has not become one"
    with town.client("eve") as http:
        before = http.cookies["session"]
        assert town.submit(http, "eve", town.passwords["eve"]).status_code == 303
        assert http.cookies["session"] != before
        stale = httpx2.get(f"{town.url}/me", headers={"cookie": f"session={before}"})
        assert stale.status_code == 401


def test_other_sessions_are_seen_and_ended(browser: Browser, town: Town) -> None:
    with (
        window(browser, base_url=town.url) as page,
        town.client("ian") as http,
        town.client("ian") as third,
        town.client("bob") as other,
    ):
        sign_in(page, town, "ian")
        rows = page.locator("#sessions tbody tr")
        expect(rows).to_have_count(3)
        expect(rows.filter(has_text="This browser")).to_contain_text("Chrome on Linux")
        expect(rows.filter(has_text="This browser")).to_contain_text("from 127.0.0.1")
        check_accessible(page)
        found = {one["current"]: one["id"] for one in http.get("/me/sessions").json()["data"]}
        for path in (found[True], "0" * 24, "x'--"):
            assert other.delete(f"/me/sessions/{path}", headers=csrf(other)).status_code == 404
        assert http.delete(f"/me/sessions/{found[True]}").status_code == 403
        rows.filter(has_text="python-httpx2").first.get_by_role("button", name="End").press("Enter")
        expect(rows).to_have_count(2)
        assert sorted(one.get("/me").status_code for one in (http, third)) == [200, 401]
        page.get_by_role("button", name="End 1 other session").click()
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("#sessions-note")).to_have_text("1 session ended.")
        expect(rows).to_have_count(1)
        assert [one.get("/me").status_code for one in (http, third, other)] == [401, 401, 200]


def test_a_new_password_ends_every_session(town: Town) -> None:
    with town.client("fay") as http, town.client("fay") as other, town.client("gus") as admin:
        words = {"current_password": town.passwords["fay"], "new_password": "quite long enough"}
        assert http.post("/me/password", json=words, headers=csrf(http)).status_code == 200
        assert [each.get("/me").status_code for each in (http, other)] == [401, 401]
        assert town.submit(other, "fay", words["new_password"]).status_code == 303
        path = f"/admin/users/{town.ids['fay']}/password"
        once = admin.post(path, headers=csrf(admin)).json()["password"]
        assert other.get("/me").status_code == 401
        choose(town, other, "fay", once)
        disabled = {"disabled": True}
        with town.client("fay") as again:
            admin.patch(f"/admin/users/{town.ids['fay']}", json=disabled, headers=csrf(admin))
            assert again.get("/me").status_code == 401
            assert town.submit(again, "fay", town.passwords["fay"]).status_code == 403


def choose(town: Town, http: httpx2.Client, name: str, once: str) -> None:
    """Signs in with a one-time password, which asks for another one."""
    assert http.get("/login/password").headers["location"] == "/login"
    assert town.submit(http, name, once).headers["location"] == "/login/password"
    assert http.get("/me").status_code == 401, "the first step is not a session"
    found = re.search('name="csrf" value="([0-9a-f]+)"', http.get("/login/password").text)
    assert found is not None
    town.passwords[name] = "chosen by oneself"
    fields = {"new_password": town.passwords[name]}
    forged = http.post("/login/password", data=fields)
    assert forged.headers["location"] == "/login"
    refused = http.post("/login/password", data={"new_password": once, "csrf": found[1]})
    assert (refused.status_code, "choose another one" in refused.text) == (400, True)
    chosen = http.post("/login/password", data=fields | {"csrf": found[1]})
    assert chosen.headers["location"] == "/dashboard"
    assert http.get("/me").json()["name"] == name


def test_the_form_refuses_what_it_did_not_send_and_names_nobody(town: Town) -> None:
    with town.client() as http:
        page = http.get("/login")
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        cookie = page.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        forged = http.post("/login", data={"name": "bob", "password": town.passwords["bob"]})
        assert forged.status_code == 400
        assert "session" not in http.cookies
        texts = {town.submit(http, name, "not the password").text for name in ("bob", "nobody")}
        found = {re.search('alert">([^<]*)', text)[1] for text in texts}  # type: ignore[index]
        assert found == {"The name or the password is not correct."}
        shown = town.submit(http, '"><script>', "not the password").text
        assert "<script>" not in shown.partition("<body>")[2]
