"""Every field is read with its type and bounds, or refused by name."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.dialects.fields import Fields
from frontend.errors import InvalidRequest
from tests.support.bodies import refused

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("method", "good", "bad"),
    [
        ("text", ["", "x"], [1, [], {}, True]),
        ("boolean", [True, False], [0, 1, "true"]),
        ("integer", [0, -5], [1.0, True, "1", []]),
        ("number", [0, 1.5], [False, "1", 2**63]),
        ("token_ids", [[], [0, 5]], [[-1], [True], ["1"], [2**31], [1.0], 1]),
        ("mapping", [{}, {"a": 1}], [[], "x"]),
    ],
)
def test_types(method: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(Fields({"x": value}), method)("x") == value
    for value in bad:
        assert refused(getattr(Fields({"x": value}), method), "x").param == "x"


@pytest.mark.parametrize("method", ["text", "boolean", "integer", "number", "mapping", "token_ids"])
def test_null_is_absent(method: str) -> None:
    fields = Fields({"x": None})
    assert getattr(fields, method)("x") is None
    fields.finish()


def test_bounds_are_included_and_named() -> None:
    assert Fields({"x": 2}).integer("x", 1, 2) == 2
    assert "between 1 and 2" in refused(Fields({"x": 3}).integer, "x", 1, 2).message
    assert "at least 1" in refused(Fields({"x": 0}).integer, "x", 1).message


def test_a_list_of_texts_may_be_one_text_and_is_bounded() -> None:
    assert Fields({"x": "a"}).texts("x", 1) == ["a"]
    assert "at most 1" in refused(Fields({"x": ["a", "b"]}).texts, "x", 1).message


def test_paths_lead_to_inner_fields() -> None:
    inner = Fields({"a": {"b": 1}}).inner("a")
    assert inner is not None
    assert refused(inner.text, "b").param == "a.b"


def test_a_typo_is_answered_with_the_nearest_field() -> None:
    fields = Fields({"temperatur": 1})
    fields.number("temperature")
    refusal = refused(fields.finish)
    assert refusal.param == "temperatur"
    assert "did you mean 'temperature'" in refusal.message


@given(st.dictionaries(st.text(min_size=1, max_size=5), JSON, min_size=1))
def test_whatever_is_not_read_is_refused(body: dict[str, Any]) -> None:
    refusal = refused(Fields(body).finish)
    assert refusal.param in body
    assert refusal.code == "unknown_parameter"


@given(JSON, st.sampled_from(["text", "boolean", "integer", "number", "token_ids", "mapping"]))
def test_no_value_breaks_a_reader(value: Any, method: str) -> None:
    fields = Fields({"x": value})
    with contextlib.suppress(InvalidRequest):
        getattr(fields, method)("x")


def test_long_names_and_values_are_neither_compared_nor_sent_back() -> None:
    huge = "max_tokens" * 2_000_000
    for value, read in (
        ({huge: 1}, Fields.finish),
        ({"a": huge}, lambda fields: fields.boolean("a")),
        ({"a": huge}, lambda fields: fields.choice("a", ["b"])),
    ):
        with pytest.raises(InvalidRequest) as refused:
            read(Fields(value))
        assert len(refused.value.message) < 300
        assert len(refused.value.param or "") <= 200
