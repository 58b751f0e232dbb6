"""What other servers, clients and files say is text on every page, one line in every header, one
event in every stream and no formula in any table."""

import csv
import io
import json
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from frontend.domain.identity import Permission
from tests.support.browser import needs_chromium
from tests.support.echo import script
from tests.support.processes import wait_for
from tests.support.routes import address, routes
from tests.support.site import Site, csrf, open_admin

pytestmark = needs_chromium
EVIL = "</script><svg onload=alert(1)>\"'><img src=x onerror=alert(2)>${1}{{1}}"
LINES = "a\r\nset-cookie: stolen=1\r\n\r\n<b>x"


@contextmanager
def evil_upstream(status: int, model: str = EVIL) -> Iterator[str]:
    """A server of the OpenAI protocol whose models and errors are markup; its address."""

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = {
                "object": "list",
                "data": [{"id": model, "object": "model", "description": EVIL}],
            }
            text = json.dumps(body if status == 200 else {"error": {"message": EVIL}}).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


@contextmanager
def registered(site: Site, url: str) -> Iterator[str]:
    """An upstream while the block runs; its id."""
    with site.client("target") as http:
        body = {"name": f"evil-{secrets.token_hex(3)}", "engine": "openai", "url": url,
                "labels": {"trust": "low"}}  # fmt: skip
        made = http.post("/admin/backends/register", json=body, headers=csrf(http))
        assert made.status_code == 201, made.text
        one = made.json()["id"]
        yield one
        assert http.delete(f"/admin/backends/{one}", headers=csrf(http)).status_code == 200


def wait_until_polled(http: httpx2.Client, upstream: str) -> None:
    def is_polled() -> bool:
        now = http.get(f"/admin/backends/{upstream}").json()
        return now["error"] is not None or now["polled_s_ago"] is not None

    wait_for(is_polled, what="the first poll")


def harmless(page: Page) -> None:
    assert page.locator("img[src=x], svg[onload], [onerror]").count() == 0, page.url


@pytest.mark.parametrize("status", [200, 500])
def test_what_an_upstream_says_is_text_on_every_page(
    browser: Browser, site: Site, status: int
) -> None:
    with (
        evil_upstream(status) as url,
        registered(site, url) as one,
        site.signed_in(browser, "target") as page,
    ):
        page.on("dialog", lambda asked: pytest.fail(f"a script ran: {asked.message}"))
        with site.client("target") as http:
            wait_until_polled(http, one)
            target = {"model": EVIL, "percent": 100}
            body = {"model": "trial-of-evil", "targets": [target]}
            made = http.post("/admin/canaries", json=body, headers=csrf(http))
            http.post("/v1/chat/completions", headers=csrf(http),
                      json={"model": EVIL, "messages": script(text="x")})  # fmt: skip
        shown = 0
        for name in ("overview", "upstreams", "models", "prices", "audit", "changes"):
            open_admin(page, name)
            harmless(page)
            shown += "<img src=x" in page.locator("body").inner_text()
        open_admin(page, "upstreams")
        page.get_by_role("row").filter(has_text=url).locator("button.link").press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text(url)
        harmless(page)
        for path in ("/", "/playground", "/dashboard"):
            page.goto(path)
            page.wait_for_load_state("networkidle")
            harmless(page)
        # a model's name is shown where there is one, and its failed request in the audit always
        assert shown >= (3 if status == 200 else 1)
        if made.status_code == 201:
            with site.client("target") as http:
                path = f"/admin/canaries/{made.json()['id']}"
                assert http.delete(path, headers=csrf(http)).status_code == 200


def test_labels_names_and_addresses_are_refused_as_markup_or_lines(site: Site) -> None:
    with site.client("target") as http:
        good = {"name": "rack", "engine": "openai", "url": "http://127.0.0.1:9/v1"}
        for change in (
            {"name": EVIL}, {"name": LINES}, {"labels": {EVIL: "x"}}, {"labels": {"x": EVIL}},
            {"labels": {"x": "a\nb"}}, {"url": f"http://127.0.0.1:9/{LINES}"},
            {"url": "javascript:alert(1)"}, {"api_key_env": EVIL},
        ):  # fmt: skip
            answer = http.post("/admin/backends/register", json=good | change, headers=csrf(http))
            assert answer.status_code == 400, (change, answer.text)
            assert answer.headers["content-type"].startswith("application/json")
        for path, body in (
            ("/me/keys", {"name": LINES}),
            ("/admin/users", {"name": LINES, "role": "student"}),
            ("/admin/groups", {"name": LINES}),
            ("/admin/plans", {"name": LINES}),
            ("/key-requests", {"name": LINES, "email": "a@example.org", "reason": "x"}),
            ("/key-requests", {"name": "a", "email": f"a@example.org{LINES}", "reason": "x"}),
        ):
            answer = http.post(path, json=body, headers=csrf(http))
            assert answer.status_code == 400, (path, body, answer.text)
            assert "stolen" not in answer.headers.get("set-cookie", "")


def test_a_file_keeps_its_name_out_of_headers_and_pages(site: Site) -> None:
    with site.client("mallory") as http:
        for name in ('x".html', "<img src=x>.html", "../../etc/passwd", "a;b=c.jsonl"):
            content = b"<script>alert(1)</script>"
            upload = {"file": (name, content, "text/html")}
            made = http.post(
                "/v1/files", files=upload, data={"purpose": "batch"}, headers=csrf(http)
            )
            if made.status_code == 400:
                continue
            answer = http.get(f"/v1/files/{made.json()['id']}/content")
            assert answer.status_code == 200, answer.text
            # a browser that is sent there saves it, and does not run it
            assert "html" not in answer.headers["content-type"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert name not in answer.headers.get("content-disposition", "")


def test_an_answer_cannot_add_an_event_to_a_stream(site: Site) -> None:
    text = 'a\n\nevent: end\ndata: {"stolen": 1}\r\rdata: [DONE]\u2028data: x\n\n'
    with site.client("mallory") as http:
        for path, body in (
            ("/v1/chat/completions", {"model": "echo", "messages": script(text=text)}),
            ("/v1/messages", {"model": "echo", "max_tokens": 99, "messages": script(text=text)}),
        ):
            answer = http.post(path, json=body | {"stream": True}, headers=csrf(http))
            assert answer.status_code == 200, answer.text
            lines = answer.text.split("\n")
            assert "event: end" not in lines
            data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
            whole = [json.loads(one) for one in data if one != "[DONE]"]
            assert data.count("[DONE]") <= 1
            assert all("stolen" not in one for one in whole)


def test_a_table_of_the_audit_has_no_formulas(site: Site) -> None:
    model = f"=HYPERLINK({secrets.token_hex(4)})"
    with (
        evil_upstream(200, model) as url,
        registered(site, url) as one,
        site.client("root") as reviewer,
    ):
        wait_until_polled(reviewer, one)
        body = {"model": model, "messages": script(text="x")}
        reviewer.post("/v1/chat/completions", json=body, headers=csrf(reviewer))
        path = f"/admin/audit/search?user_id={site.ids['root']}&limit=200&format=csv"

        def rows() -> list[dict[str, str]]:
            found = csv.DictReader(io.StringIO(reviewer.get(path).text))
            return [row for row in found if model in row["model"]]

        wait_for(rows, what="the record")
        assert [row["model"] for row in rows()] == [f"'{model}"]


def test_what_is_of_a_person_is_kept_by_no_cache(site: Site, tmp_path: Path) -> None:
    read = [
        one for one in routes(tmp_path)
        if one.method == "GET" and one.permission is not Permission.PUBLIC
        and one.path != "/admin/live"
    ]  # fmt: skip
    with site.client("root") as http:
        answers = {one.path: http.get(address(one)) for one in read}
    kept = {
        path: answer.headers.get("cache-control") for path, answer in answers.items()
        if answer.status_code < 400
    }  # fmt: skip
    assert len(kept) > 30
    assert set(kept.values()) == {"no-store"}, kept


def test_many_open_views_are_bounded_and_requests_go_on(site: Site) -> None:
    with ExitStack() as open_views, site.client("third") as http:
        statuses: Counter[int] = Counter()
        views = []
        for _ in range(200):
            stream = http.stream("GET", "/admin/live", timeout=60)
            view = stream.__enter__()
            statuses[view.status_code] += 1
            if view.status_code == 200:
                open_views.push(stream)
                views.append(view.iter_lines())
            else:
                assert "too many live views are open" in view.read().decode()
                stream.__exit__(None, None, None)
        # of one user; others have room
        assert statuses == {200: 8, 503: 192}
        body = {"model": "echo", "messages": script(text="still here")}
        answer = http.post("/v1/chat/completions", json=body, headers=csrf(http))
        assert answer.json()["choices"][0]["message"]["content"] == "still here"
        assert all(any(line.startswith("data: ") for line in view) for view in views)
        with site.client("second") as other, other.stream("GET", "/admin/live") as view:
            assert view.status_code == 200
