"""What a key is limited to only narrows, and one that covers another covers all that it allows."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.accounts.scopes import (
    allows_endpoint,
    allows_model,
    allows_source,
    covers,
    make_scope,
)
from frontend.domain.identity import UNLIMITED, Scope

NAMES = st.text("ab*", min_size=1, max_size=5)
SCOPES = st.builds(Scope, st.none() | st.lists(NAMES, min_size=1, max_size=2).map(tuple))


def test_no_lists_limit_nothing() -> None:
    scope = make_scope(None, None, None)
    assert scope is UNLIMITED
    assert allows_model(scope, ["any"])
    assert allows_endpoint(scope, "/any")
    assert allows_source(scope, "")


def test_patterns_match_whole_names() -> None:
    scope = make_scope(["qwen*", "bge"], ["/v1/*"], None)
    assert allows_model(scope, ["qwen3-0.6b"])
    assert allows_model(scope, ["alias", "bge"])
    assert not allows_model(scope, ["my-qwen"])
    assert not allows_model(scope, ["bge2"])
    assert not allows_model(scope, [])
    assert allows_endpoint(scope, "/v1/models/{model:path}")
    assert not allows_endpoint(scope, "/me/keys")
    assert not allows_model(make_scope(["q.en"], None, None), ["qwen"]), "a dot is only a dot"


@given(NAMES, st.text("ab*", max_size=8))
def test_a_star_stands_for_any_text(pattern: str, text: str) -> None:
    scope = make_scope([pattern], None, None) if pattern[0] != "*" else Scope((pattern,))
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert allows_model(scope, [text]) == bool(re.fullmatch(expression, text))


def test_many_stars_cost_little() -> None:
    outer = make_scope(["a*" * 60 + "b"], None, None)
    assert not allows_model(outer, ["a" * 120]), "a search that tries all splits never ends"
    assert not covers(outer, make_scope(["a" * 120], None, None))
    assert allows_model(outer, ["a" * 60 + "b"])


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("2001:db8::1", True),
        ("fe80::1%eth0", False),
        ("198.51.100.1", False),
        ("", False),
        ("unix", False),
    ],
)
def test_sources(address: str, allowed: bool) -> None:
    scope = make_scope(None, None, ["192.0.2.0/24", "2001:db8::/32"])
    assert allows_source(scope, address) is allowed


@given(SCOPES, SCOPES, st.text("ab", min_size=1, max_size=5))
def test_what_is_covered_allows_no_more(outer: Scope, inner: Scope, name: str) -> None:
    if covers(outer, inner) and allows_model(inner, [name]):
        assert allows_model(outer, [name])


@given(SCOPES)
def test_a_scope_covers_itself(scope: Scope) -> None:
    assert covers(scope, scope)
    assert covers(UNLIMITED, scope)


def test_networks_are_covered_by_wider_ones() -> None:
    wide, narrow = (make_scope(None, None, [text]) for text in ("10.0.0.0/8", "10.1.0.0/16"))
    assert covers(wide, narrow)
    assert not covers(narrow, wide)
    assert not covers(wide, UNLIMITED)
    assert not covers(wide, make_scope(None, None, ["2001:db8::/32"]))
