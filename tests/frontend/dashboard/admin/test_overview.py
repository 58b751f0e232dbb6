"""Who may see the pages for administrators, and the live overview: its stream and its page."""

import html
import json
from collections.abc import Iterator
from urllib.parse import quote

import httpx2
from playwright.sync_api import Browser, Route, expect

from tests.support.browser import check_accessible, check_width, needs_chromium
from tests.support.echo import script
from tests.support.site import Site, csrf, open_admin

pytestmark = needs_chromium
PROGRAM = {"accept": "application/json"}


def events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, object]]]:
    """The name and the data of each event of a stream."""
    name = "message"
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))
            name = "message"


def test_pages_are_for_who_is_signed_in_and_has_a_permission(site: Site) -> None:
    for path in ("/admin", "/admin/pages/overview"):
        with site.client() as http:
            assert http.get(path).headers["location"] == f"/login?next={quote(path, safe='')}"
            answer = http.get(path, headers=PROGRAM)
            assert answer.status_code == 401
            assert answer.json()["error"]["message"]
        with site.client("sue") as http:
            answer = http.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (
                403, "text/html; charset=utf-8",
            )  # fmt: skip
            assert "no permission to administer" in answer.text
            assert http.get(path, headers=PROGRAM).json()["error"]["type"] == "permission_error"
    with site.client("root") as http:
        page = http.get("/admin")
        assert page.status_code == 200
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert "'unsafe" not in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-store"
        for path in ("/admin/pages/nothing", "/no-such-page<b>"):
            lost = http.get(path)
            assert (lost.status_code, "Page not found" in lost.text) == (404, True)
            assert "<b>" not in lost.text
            assert "frame-ancestors 'none'" in lost.headers["content-security-policy"]
            assert lost.headers["x-request-id"] in lost.text
            program = http.get(path, headers=PROGRAM)
            assert (program.status_code, "error" in program.json()) == (404, True)
        # a person is not sent to the routes of programs
        assert "There is no page at this address" in lost.text
        assert "/v1/models" not in lost.text
        for place in ("/", "/playground", "/dashboard", "/admin"):
            assert f'<a href="{place}">' in lost.text
            assert http.get(place).status_code == 200
        assert "GET /v1/models" in http.get("/v1/no-such-route").json()["error"]["message"]
        # the routes of programs stay as they are, also for a browser
        assert http.get("/admin/users").json()["object"] == "list"


def test_a_role_gets_the_pages_that_it_can_use(site: Site) -> None:
    with site.client("reviewer") as http:
        page = http.get("/admin/pages/overview")
        assert page.status_code == 403
        assert "needs the permission 'observe'" in html.unescape(page.text)
        assert http.get("/admin/overview").status_code == 403
        assert http.get("/admin/live").status_code == 403
    with site.client("watcher") as http:
        assert http.get("/admin").status_code == 200
        assert "queue" not in http.get("/admin/overview").json()
        with http.stream("GET", "/admin/live") as stream:
            assert "queue" not in next(events(stream.iter_lines()))[1]


def test_the_stream_begins_with_the_present_state_and_ends_with_the_session(site: Site) -> None:
    with site.client("leaver") as http:
        with http.stream("GET", "/admin/live", timeout=30) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            came = events(stream.iter_lines())
            name, first = next(came)
            assert name == "message"
            assert first["running"] == 0
            assert first["upstreams"][0]["state"] == "ready"  # type: ignore[index]
            assert first["queue"]["flows"] == []  # type: ignore[index]
            assert next(came)[1]["at"] > first["at"]  # type: ignore[operator]
            with httpx2.Client(base_url=site.url, cookies=http.cookies) as other:
                assert other.post("/logout", headers=csrf(http)).status_code == 200
            *_, (name, last) = came
            assert (name, last) == ("end", {"reason": "signed_out"})
        assert httpx2.get(f"{site.url}/admin/live").status_code == 401


def test_a_key_that_is_deleted_ends_its_stream(site: Site) -> None:
    with site.client("third") as http:
        key = http.post("/me/keys", json={}, headers=csrf(http)).json()
        bearer = {"authorization": f"Bearer {key['key']}"}
        with httpx2.stream("GET", f"{site.url}/admin/live", headers=bearer, timeout=30) as stream:
            came = events(stream.iter_lines())
            next(came)
            assert http.delete(f"/me/keys/{key['id']}", headers=csrf(http)).status_code == 200
            *_, (name, _) = came
            assert name == "end"


def test_the_overview_is_live_and_accessible_in_both_themes(browser: Browser, site: Site) -> None:
    with site.client("sue") as http:
        body = {"model": "echo", "messages": script(text="one two three")}
        assert http.post("/v1/chat/completions", json=body, headers=csrf(http)).status_code == 200
    size = {"width": 360, "height": 740}
    with site.signed_in(browser, "root", viewport=size) as page:
        open_admin(page)
        expect(page.locator("#tools")).to_contain_text("live")
        expect(page.get_by_role("region", name="Table of models")).to_contain_text("echo")
        expect(page.locator(".tile").first).to_contain_text("slots")
        expect(page.locator("#view")).to_contain_text("The queue is empty")
        expect(page.locator("#view")).to_contain_text("No upstream reports a GPU")
        check_width(page)
        for theme in ("light", "dark"):
            page.get_by_label("Theme").select_option(theme)
            check_accessible(page)


def test_what_a_snapshot_holds_is_shown_as_text(browser: Browser, site: Site) -> None:
    evil = "<img src=x onerror=alert(1)>"
    with site.client("root") as http:
        now = http.get("/admin/overview").json()
    flow = {
        "group_id": "g", "user_id": site.ids["sue"], "background": False, "models": [evil],
        "position": 3, "expected_wait_s": 1.5, "longest_wait_s": 0.5, "waiting": 2, "running": 1,
        "share": 0.25, "deficit": 1200.4,
    }  # fmt: skip
    now["queue"]["flows"] = [flow, {**flow, "user_id": evil, "position": None}]
    now["gpus"] = [{"upstream": evil, "gpu": "GPU-1", "utilization": 0.5, "power_w": 300.0,
                    "memory_used_bytes": 2**30, "memory_total_bytes": 2**31}]  # fmt: skip
    now["upstreams"][0] |= {"name": evil, "error": evil, "breakers": {evil: "open"}}
    now["models"][0]["name"] = evil
    point = {"models": {evil: {"running": 1, "completion_tokens": 40}}}
    past = {"interval_s": 15, "points": [{"time": one, **point} for one in (1e9, 1e9 + 15)]}
    now["alerts"] = [{"name": evil, "severity": "critical", "subject": "", "summary": evil,
                      "since": 1_700_000_000}]  # fmt: skip

    def answer(route: Route) -> None:
        route.fulfill(body=f"data: {json.dumps(now)}\n\n", content_type="text/event-stream")

    with site.signed_in(browser, "root") as page:
        page.route("**/admin/live", answer)
        page.route("**/admin/metrics/history", lambda route: route.fulfill(json=past))
        open_admin(page)
        queue = page.get_by_role("region", name="Table of the queue")
        expect(queue).to_contain_text("1.5 s")
        expect(queue).to_contain_text("sue")
        expect(queue).to_contain_text("25.0 %")
        expect(page.get_by_role("region", name="Table of GPUs")).to_contain_text("1.0 GiB of 2.0")
        expect(page.locator(".alerts")).to_contain_text(evil)
        assert page.locator("img[src=x]").count() == 0
        expect(page.get_by_role("img", name="Tokens per second in the last hour")).to_be_visible()
        check_accessible(page)
