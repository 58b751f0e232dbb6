"""Every field is read with its type and bounds, or refused by name, as its declaration says."""

import contextlib
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from frontend.dialects.declare import (
    Body,
    Empty,
    Fraction,
    Off,
    Open,
    Refused,
    Repetition,
    TokenIdList,
    about,
)
from frontend.dialects.read import read
from frontend.errors import InvalidRequest, UnknownFields
from tests.support.bodies import refused

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
_Two = Annotated[int, Meta(ge=1, le=2)]


class Text(Body, tag_field="kind", tag="text", kw_only=True):
    text: str


class Flag(Open, tag_field="kind", tag="flag", kw_only=True):
    flag: bool | None = None


class Inner(Body, kw_only=True):
    b: str | None = None
    c: Literal["z", "a"] | None = None


class Example(Body, kw_only=True):
    text: str | None = None
    boolean: bool | None = None
    integer: int | None = None
    two: _Two | None = None
    low: Annotated[int, Meta(ge=1)] | None = None
    number: int | float | None = None
    fraction: Fraction | None = None
    repetition: Repetition | None = None
    token_ids: Annotated[TokenIdList | None, about("Ids.", must_be="a list of token ids")] = None
    mapping: dict[str, Any] | None = None
    texts: str | Annotated[list[str], Meta(max_length=2)] | None = None
    choice: Literal["z", "a"] | None = None
    short: Annotated[str, Meta(min_length=1, max_length=3)] | None = None
    off: Annotated[Off | None, about("Off.", reason="it is off")] = None
    refused: Annotated[Refused | None, about("Refused.", reason="there is none")] = None
    only: Annotated[Literal["x"] | None, about("x.", reason="there is one")] = None
    empty: Annotated[Empty | None, about("Empty.", reason="nothing has it")] = None
    said: Annotated[
        Literal["a"] | Inner | None, about("Either.", says="must be 'a' or an object")
    ] = None
    inner: Inner | None = None
    tagged: Annotated[
        list[Annotated[Text | Flag, Meta(extra={"unknown": ("texts are taken", "no")})]] | None,
        about("Parts."),
    ] = None


class Needed(Body, kw_only=True):
    first: int | None = None
    named: str
    worded: Annotated[str, about("Worded.", missing="must be there")]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("text", ["", "x"], [1, [], {}, True]),
        ("boolean", [True, False], [0, 1, "true"]),
        ("integer", [0, -5], [1.0, True, "1", []]),
        ("number", [0, 1.5, 1e30], [False, "1"]),
        ("fraction", [0, 1, 0.5], [1.01, 2, -1, True]),
        ("token_ids", [[], [0, 5]], [[-1], [True], ["1"], [2**31], [1.0], 1]),
        ("mapping", [{}, {"a": 1}], [[], "x"]),
        ("texts", ["x", ["a", "b"]], [["a", 1], ["a", "b", "c"], 5]),
        ("choice", ["z", "a"], ["b", 1]),
        ("short", ["a", "abc"], ["", "abcd", 1]),
        ("off", [False], [True, 0, "false"]),
        ("refused", [], [False, 0, "", [], {}]),
        ("only", ["x"], ["y", 1, []]),
        ("empty", [[]], [[1], {}, "x"]),
    ],
)
def test_types(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        found = getattr(read(Example, {name: value}), name)
        assert isinstance(found, Off) or (found == value and type(found) is type(value))
    for value in bad:
        assert refused(read, Example, {name: value}).param == name


def test_a_text_that_is_too_long_is_told_its_bound() -> None:
    body = {"number": 1, "short": "abcd"}
    text = str(refused(read, Example, body))
    assert text == "'short' has 4 characters, more than the 3 allowed"


def test_null_is_absent() -> None:
    body = dict.fromkeys(Example.__struct_fields__)
    assert read(Example, body) == Example()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"text": 5}, "'text' must be a string, not 5"),
        ({"boolean": "yes"}, "'boolean' must be true or false, not 'yes'"),
        ({"integer": "1"}, "'integer' must be a whole number, not '1'"),
        ({"two": 3}, "'two' is 3; it must be between 1 and 2"),
        ({"two": 1e30}, "'two' does not fit into 64 bits; it must be between 1 and 2"),
        ({"low": 0}, "'low' is 0; it must be at least 1"),
        ({"number": []}, "'number' must be a number, not a list of 0 entries"),
        ({"repetition": 0}, "'repetition' is 0; it must be between 0.01 and 10"),
        ({"token_ids": "x"}, "'token_ids' must be a list of token ids, not 'x'"),
        ({"mapping": 1}, "'mapping' must be a JSON object, not 1"),
        ({"texts": {}}, "'texts' must be a string or a list of strings, not an object"),
        ({"texts": ["a"] * 3}, "'texts' has 3 entries; at most 2 are allowed"),
        ({"choice": "b"}, "'choice' is 'b'; supported: 'z', 'a'"),
        ({"off": True}, "'off' is not supported: it is off"),
        ({"said": "b"}, "'said' must be 'a' or an object"),
        ({"inner": 1}, "'inner' must be a JSON object"),
        ({"inner": {"b": 1}}, "'inner.b' must be a string, not 1"),
        ({"inner": {"c": "b"}}, "'inner.c' is 'b'; supported: 'z', 'a'"),
        ({"inner": {"bb": 1}}, "'inner.bb' is not a known parameter; did you mean 'b'?"),
        ({"tagged": [{}]}, "'tagged[0].kind' is required"),
        ({"tagged": [{"kind": 5}]}, "'tagged[0].kind' must be a string, not 5"),
        ({"tagged": [{"kind": "x"}]}, "'tagged[0].kind' is 'x'; texts are taken"),
        ({"tagged": [5]}, "'tagged[0]' must be a JSON object"),
        ({"tagged": [{"kind": "flag"}, {"kind": "text"}]}, "'tagged[1].text' is required"),
        ([], "the request body must be a JSON object"),
    ],
)
def test_the_error_says_the_field_the_value_and_what_would_be_right(
    body: Any, message: str
) -> None:
    assert refused(read, Example, body).message == message


def test_paths_begin_where_the_object_is() -> None:
    assert refused(read, Inner, {"b": 1}, "a[3]").param == "a[3].b"


def test_a_required_field_is_named_before_any_other_error() -> None:
    error = refused(read, Needed, {"first": "x", "worded": "w"})
    assert (error.param, error.code) == ("named", "missing_required_parameter")
    assert refused(read, Needed, {"named": "x"}).message == "'worded' must be there"


def test_a_typo_is_answered_with_the_nearest_field() -> None:
    error = refused(read, Example, {"fractoin": 1})
    assert error.message == "'fractoin' is not a known parameter; did you mean 'fraction'?"
    assert (error.param, error.code) == ("fractoin", "unknown_parameter")


def test_all_unknown_fields_of_a_body_are_told_and_what_is_sent_is_named_first() -> None:
    with pytest.raises(UnknownFields) as error:
        read(Example, {"nothing": None, "something": 1})
    assert error.value.param == "something"
    assert error.value.names == {"nothing", "something"}


def test_unknown_fields_of_inner_objects_may_be_null() -> None:
    body = {"inner": {"b": "x", "zz": None}, "mapping": {"zz": None}}
    found = read(Example, body)
    assert found.inner == Inner(b="x")
    assert found.mapping == {"zz": None}


def test_an_open_object_ignores_what_it_does_not_know() -> None:
    assert read(Example, {"tagged": [{"kind": "flag", "zz": 1}]}).tagged == [Flag()]


@given(st.dictionaries(st.text(min_size=1, max_size=5), JSON, min_size=1))
def test_whatever_is_not_declared_is_refused(body: dict[str, Any]) -> None:
    body = {f"_{name}": value for name, value in body.items()}
    error = refused(read, Example, body)
    assert error.param in body
    assert error.code == "unknown_parameter"


@given(JSON, st.sampled_from(Example.__struct_fields__))
def test_no_value_breaks_a_reader(value: Any, name: str) -> None:
    with contextlib.suppress(InvalidRequest):
        read(Example, {name: value})


def test_long_names_and_values_are_neither_compared_nor_sent_back() -> None:
    huge = "max_tokens" * 2_000_000
    for body in ({huge: 1}, {"boolean": huge}, {"choice": huge}, {"tagged": [{"kind": huge}]}):
        error = refused(read, Example, body)
        assert len(error.message) < 300
        assert len(error.param or "") <= 200
