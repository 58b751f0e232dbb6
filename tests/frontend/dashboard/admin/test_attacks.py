"""What every page and every route must refuse, whichever is added: frames, and writing with the
cookie alone."""

import re

import pytest

from frontend.dashboard.admin.sections import SECTIONS
from tests.support.browser import needs_chromium
from tests.support.site import Site, csrf

pytestmark = [pytest.mark.timeout(120), needs_chromium]
PUBLIC = {"/login", "/login/password", "/login/code", "/login/enrol", "/key-requests"}
PAGES = ("/", "/playground", "/login", "/request-key", "/dashboard", "/nothing-here")


def test_no_page_can_be_framed_or_runs_what_is_written_in_it(site: Site) -> None:
    admin = [page.address for _, pages in SECTIONS for page in pages]
    with site.client("root") as http:
        for path in (*PAGES, *admin):
            answer = http.get(path)
            assert answer.headers["content-type"].startswith("text/html"), path
            policy = answer.headers["content-security-policy"]
            assert "frame-ancestors 'none'" in policy, path
            assert "default-src 'none'" in policy, path
            assert "unsafe" not in policy, path
            assert answer.headers["x-content-type-options"] == "nosniff", path
            assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", answer.text), (
                path
            )


def test_every_route_that_writes_needs_the_token_of_the_session(site: Site) -> None:
    with site.client("root") as http, site.client("second") as other:
        paths = http.get("/docs/api").json()["paths"]
        writing = [
            (method, re.sub(r"{[^}]*}", "x", path))
            for path, methods in paths.items()
            for method in methods
            if method in ("post", "patch", "delete") and path not in PUBLIC
        ]
        assert len(writing) > 60
        for method, path in writing:
            for headers in ({}, csrf(other)):
                answer = http.request(method.upper(), path, headers=headers)
                assert answer.status_code == 403, (method, path, answer.text)
        assert http.get("/me").status_code == 200
