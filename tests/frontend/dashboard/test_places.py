"""A sign-in leads back to the page that was asked for, and never to another host."""

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.dashboard.places import HOME, from_cookie, local_place, to_cookie

ATTACKS = [
    "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "\\/evil.example",
    "https://evil.example", "https:evil.example", "javascript:alert(1)", "data:text/html,x",
    "evil.example", "", "/\t/evil.example", "/\n/evil.example", "\t//evil.example",
    " //evil.example", "/ /evil.example", "/a\\b", "/\x00", "/é", "/a\r\nset-cookie: session=x",
    "/login", "/login/oidc?link=1", "/LOGIN", "/%6Cogin", "/x/../login/oidc?link=1", "/./login",
    "/%2e%2e/login", "/%5c/evil.example", "/" + "a" * 1024, "http://", "?a", "#a", "@evil.example",
]  # fmt: skip


@pytest.mark.parametrize("place", ATTACKS)
def test_what_is_not_a_page_here_is_refused(place: str) -> None:
    assert local_place(place) == ""
    assert from_cookie(to_cookie(place).encode()) == HOME


@pytest.mark.parametrize(
    "place",
    ["/", "/admin", "/admin/pages/users?search=a%20b&after=x", "/dashboard?from=2026-01-01#keys"],
)
def test_a_page_here_passes_unchanged(place: str) -> None:
    assert local_place(place) == place
    assert from_cookie(to_cookie(place).encode()) == place


@given(st.text())
def test_what_passes_has_no_host_and_no_scheme(text: str) -> None:
    place = local_place(f"/{text}")
    parts = urlsplit(place)
    assert (parts.scheme, parts.netloc) == ("", "")
    assert re.fullmatch(r"(/([!-.0-\[\]-~][!-\[\]-~]*)?)?", place)
    assert from_cookie(to_cookie(text).encode("utf-8", "replace")).startswith("/")


@given(st.binary())
def test_any_cookie_leads_somewhere_here(value: bytes) -> None:
    assert local_place(from_cookie(value))
