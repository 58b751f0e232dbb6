"""What every page and every route must refuse, whichever is added: frames, writing with the cookie
alone, objects of others, names that are markup, other hosts, and pages after a sign-out."""

import re
from typing import Any
from xml.etree import ElementTree

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from frontend.dashboard.admin.sections import SECTIONS
from frontend.domain.identity import Permission
from frontend.http.routing import Route
from tests.support.browser import needs_chromium
from tests.support.echo import script
from tests.support.processes import wait_for
from tests.support.routes import address, routes, writing
from tests.support.site import Site, csrf, open_admin

pytestmark = needs_chromium
STREAMS = {"/admin/live"}
"""Answers that do not end."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[Route]:
    return routes(tmp_path_factory.mktemp("table"))


def test_no_page_can_be_framed_or_runs_what_is_written_in_it(
    site: Site, table: list[Route]
) -> None:
    admin = [page.address for _, pages in SECTIONS for page in pages]
    read = [address(one) for one in table if one.method == "GET" and one.path not in STREAMS]
    pages = set()
    with site.client("target") as http, site.client() as stranger:
        for path in (*read, *admin, "/nothing-here"):
            for who in (http, stranger):
                answer = who.get(path)
                if not answer.headers.get("content-type", "").startswith("text/html"):
                    continue
                pages.add(path)
                policy = answer.headers["content-security-policy"]
                assert "frame-ancestors 'none'" in policy, path
                if path.startswith("/docs/swagger"):
                    continue  # Swagger UI writes styles, and there is nothing of a person on it
                assert "default-src 'none'" in policy, path
                assert "unsafe" not in policy, path
                assert answer.headers["x-content-type-options"] == "nosniff", path
                inline = r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+="
                assert not re.search(inline, answer.text), path
    known = {one.path for one in table if one.page and "{" not in one.path}
    assert pages > {*known, *admin, "/", "/login", "/playground", "/request-key", "/nothing-here"}


def test_every_route_that_writes_needs_the_token_of_the_session(
    site: Site, table: list[Route]
) -> None:
    tried = 0
    with site.client("target") as http, site.client("second") as other:
        session = http.cookies["session"]
        for one in writing(table):
            for headers in ({}, csrf(other)):
                answer = http.request(one.method, address(one, "x"), headers=headers)
                tried += 1
                if one.permission is not Permission.PUBLIC:
                    assert answer.status_code == 403, (one, answer.text)
                    assert "X-CSRF-Token" in answer.text, one
                    continue
                # a form has a token of its own; the request for a key is for nobody's account
                back = (answer.status_code, answer.headers.get("location"))
                assert back in ((303, "/login"), (400, None)), (one, answer.text)
                assert "session=" not in answer.headers.get("set-cookie", ""), one
        assert tried > 120
        assert http.cookies["session"] == session
        assert http.get("/me").status_code == 200


_LISTED = {"/me/quota-requests", "/me/sessions"}
"""Objects that have no address of their own that shows them."""
_EVIL = "\"><img src=x onerror=alert(1)>'`${7*7}{{7*7}}"
"""Ends an attribute, and is markup, a template of JavaScript and one of Jinja2."""


def _objects(http: httpx2.Client) -> dict[str, str]:
    """One object of each kind that a user can have, by the address that shows it; its id."""
    made = csrf(http)
    key = http.post("/me/keys", json={"name": _EVIL}, headers=made).json()["id"]
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions",
            "body": {"model": "echo", "messages": script(text="x")}}  # fmt: skip
    upload = {"file": ("a.jsonl", httpx2.Response(200, json=line).content)}
    file = http.post("/v1/files", files=upload, data={"purpose": "batch"}, headers=made).json()[
        "id"
    ]
    wanted = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = http.post("/v1/batches", json=wanted, headers=made).json()["id"]
    asked = {"model": "echo", "input": script(text=_EVIL)[0]["content"]}
    response = http.post("/v1/responses", json=asked, headers=made).json()["id"]
    wait_for(lambda: http.get("/me/audit").json()["data"], what="the audit record")
    audit = http.get("/me/audit").json()["data"][0]["id"]
    session = http.get("/me/sessions").json()["data"][0]["id"]
    more = {"measure": "tokens", "period": "month", "amount": 10**7, "reason": _EVIL}
    request = http.post("/me/quota-requests", json=more, headers=made).json()["id"]
    return {
        f"/me/keys/{key}": key,
        f"/v1/files/{file}": file,
        f"/v1/batches/{batch}": batch,
        f"/v1/responses/{response}": response,
        f"/me/audit/{audit}": str(audit),
        "/me/sessions": session,
        "/me/quota-requests": request,
    }


def test_no_object_of_another_is_reached_by_its_id(site: Site, table: list[Route]) -> None:
    # a kind of object that is added needs one here
    own = {Permission.SELF, Permission.INFER}
    kinds = {
        one.path.partition("{id}")[0]
        for one in table
        if one.permission in own and "{id}" in one.path
    }
    with site.client("victim") as victim, site.client("mallory") as mallory:
        mine = _objects(victim)
        shown = mine.keys() - _LISTED
        assert {path.rpartition("/")[0] for path in shown} | _LISTED == {
            kind.removesuffix("/") for kind in kinds
        }
        assert all(victim.get(path).status_code == 200 for path in mine)
        # an object of another looks like one that is not there
        for path in shown:
            assert mallory.get(path).status_code == 404, path
        ids = {*mine.values(), site.ids["victim"]}
        tried = 0
        for one in table:
            if one.path.count("{") != 1 or one.path.startswith(
                ("/static", "/docs", "/admin/pages")
            ):
                continue
            for value in ids:
                body: Any = {} if one.method in ("POST", "PATCH") else None
                place = address(one, value)
                answer = mallory.request(one.method, place, json=body, headers=csrf(mallory))
                refused = (400, 403, 404, 405, 501)
                assert answer.status_code in refused, (one.method, place, answer.text)
                assert _EVIL[:20] not in answer.text
                tried += 1
        assert tried > 400
        assert all(victim.get(path).status_code == 200 for path in mine)
        session, me = mine["/me/sessions"], victim.get("/me").json()
        assert session in {one["id"] for one in victim.get("/me/sessions").json()["data"]}
        assert (me["name"], me["disabled"]) == ("victim", False)


def _seed(site: Site) -> dict[str, str]:
    """Objects of administrators whose names are markup, as far as the API takes such names."""
    with site.client("target") as http:
        made = csrf(http)

        def create(path: str, **body: Any) -> Any:
            answer = http.post(path, json=body, headers=made)
            assert answer.status_code in (200, 201), (path, answer.text)
            return answer.json()

        # these names go into metrics and headers, so that markup is refused there
        for path in ("/admin/organisations", "/admin/groups", "/admin/plans"):
            refused = http.post(path, json={"name": _EVIL}, headers=made)
            assert refused.status_code == 400
        group = create("/admin/groups", name="evil-group")["id"]
        user = create("/admin/users", name="evil", role="student", group_id=group,
                      display_name=_EVIL)["id"]  # fmt: skip
        create("/admin/keys", user_id=user, name=_EVIL)
        create("/admin/prices", model=_EVIL, request=0.1)
        create(
            "/admin/credits",
            scope_kind="user",
            scope_id=user,
            credits=5,
            note=_EVIL.replace("src=x", "src=y"),
        )
        quota = {"scope_kind": "group", "scope_id": group, "measure": "tokens",
                 "period": "month", "amount": 5, "model": _EVIL}  # fmt: skip
        refused = http.post("/admin/quotas", json=quota, headers=made)
        assert refused.status_code == 400
    public = {"name": "evil-too", "email": "evil@example.org", "reason": _EVIL}
    assert httpx2.post(f"{site.url}/key-requests", json=public).status_code == 202
    return {"group": group, "user": user}


def _is_harmless(page: Page) -> None:
    """Nothing of the names has become an element, an attribute or the result of a template."""
    assert page.locator("img[src=x]").count() == 0, page.url
    assert page.locator("[onerror]").count() == 0, page.url
    text = page.locator("body").inner_text()
    assert "$49" not in text, page.url
    assert "}49" not in text.replace("{{7*7}}", ""), page.url


def test_names_that_are_markup_are_text_on_every_page(browser: Browser, site: Site) -> None:
    _seed(site)
    with site.client("victim") as http:
        body = {"model": "echo", "messages": script(text=_EVIL)}
        assert http.post("/v1/chat/completions", json=body, headers=csrf(http)).status_code == 200
        assert http.post("/me/keys", json={"name": _EVIL}, headers=csrf(http)).status_code == 201
        more = {"amount": 5, "reason": _EVIL}
        assert http.post("/me/quota-requests", json=more, headers=csrf(http)).status_code == 201
    shown = 0
    with site.signed_in(browser, "target") as page:
        page.on("dialog", lambda asked: pytest.fail(f"a script ran: {asked.message}"))
        for name in [one.name for _, pages in SECTIONS for one in pages]:
            open_admin(page, name)
            _is_harmless(page)
            shown += _EVIL in page.locator("body").inner_text()
            # what is known of the first entry with such a name
            link = page.locator("#view tbody tr").filter(has_text="<img").locator("button.link")
            if link.count():
                link.first.click()
                expect(page.get_by_role("dialog")).to_be_visible()
                _is_harmless(page)
    assert shown >= 5
    with site.signed_in(browser, "victim") as page:
        page.on("dialog", lambda asked: pytest.fail(f"a script ran: {asked.message}"))
        for by in ("model", "key_id"):
            page.goto("/dashboard")
            expect(page.locator("#account")).to_have_attribute("data-ready", "true")
            page.locator("#usage-form").get_by_label("Split by").select_option(by)
            expect(page.locator("#usage svg").first).to_be_visible()
            _is_harmless(page)
        assert _EVIL in page.locator("body").inner_text()


def test_a_chart_does_not_run_what_names_say(site: Site) -> None:
    with site.client("mallory") as http:
        unit = _EVIL[:40]
        drawn = {"title": _EVIL, "unit": unit, "labels": [_EVIL], "width": 600,
                 "series": [{"name": _EVIL, "values": [1]}]}  # fmt: skip
        picture = http.post("/charts", json=drawn, headers=csrf(http))
        assert picture.status_code == 200, picture.text
        assert "<img" not in picture.text
        for one in ElementTree.fromstring(picture.text).iter():  # noqa: S314 (of the gateway)
            assert one.tag.rpartition("}")[2] not in (
                "script",
                "foreignObject",
                "style",
                "img",
                "a",
            )
            names = {name.rpartition("}")[2] for name in one.attrib}
            assert not {name for name in names if name.startswith("on") or name == "href"}
        assert "nosniff" in picture.headers["x-content-type-options"]
        long = http.post("/charts", json={**drawn, "unit": "u" * 41}, headers=csrf(http))
        assert long.json()["error"]["message"].startswith("'unit'"), long.text


def test_another_host_is_never_the_target_of_a_page(site: Site) -> None:
    evil = {"host": "evil.example", "x-forwarded-host": "evil.example"}
    for path in ("/dashboard", "/admin", "/admin/pages/users", "/login", "/request-key"):
        with site.client() as http:
            answer = http.get(path, headers=evil)
            assert "evil.example" not in answer.headers.get("location", ""), path
            assert "evil.example" not in answer.headers.get("set-cookie", ""), path
            assert not re.search(r'(href|src|action)="[^"]*evil\.example', answer.text), path
            # a cache on the way cannot keep for others what this sender made
            assert "no-store" in answer.headers["cache-control"], path


def test_the_way_back_after_signing_out_shows_nothing(browser: Browser, site: Site) -> None:
    with site.signed_in(browser, "quitter") as page:
        page.goto("/dashboard")
        expect(page.locator("#account")).to_have_attribute("data-ready", "true")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(lambda url: "/dashboard" not in url)
        page.go_back()
        expect(page.get_by_label("Password")).to_be_visible()
        assert page.locator("#account").count() == 0
