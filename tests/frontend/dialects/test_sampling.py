"""The shared sampling fields reach the engine under vLLM's names, or are refused by name."""

from typing import Any

import pytest

from frontend.dialects.openai.chat import parse_chat
from frontend.errors import InvalidRequest
from frontend.upstreams.triton.contract import write_sampling
from tests.support.bodies import refused

HELLO = [{"role": "user", "content": "hello"}]


def sampling(**fields: Any) -> dict[str, Any]:
    return write_sampling(parse_chat({"model": "m", "messages": HELLO, **fields}, 10).generation)


def refusal(**fields: Any) -> str | None:
    return refused(parse_chat, {"model": "m", "messages": HELLO, **fields}, 10).param


PASSED_ON = {
    "temperature": 0.5,
    "top_p": 0.9,
    "presence_penalty": 1,
    "frequency_penalty": -1.5,
    "n": 3,
    "seed": 7,
    "logit_bias": {"42": -100},
    "top_k": 5,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "min_tokens": 2,
    "ignore_eos": True,
    "stop_token_ids": [1, 2],
    "bad_words": ["no"],
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
    "include_stop_str_in_output": True,
    "priority": 3,
    "max_tokens": 9,
}


@pytest.mark.parametrize(("name", "value"), PASSED_ON.items())
def test_it_is_passed_on(name: str, value: Any) -> None:
    assert sampling(**{name: value}) == {name: value}


def test_all_together_and_nothing_else() -> None:
    assert sampling(**PASSED_ON) == PASSED_ON
    assert sampling() == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 2.1),
        ("temperature", "hot"),
        ("top_p", 1.1),
        ("presence_penalty", 3),
        ("n", 0),
        ("n", 1000),
        ("seed", 2**63),
        ("stop", [""]),
        ("stop", ["x"] * 65),
        ("stop", 5),
        ("logit_bias", {"x": 1}),
        ("logit_bias", {"1": 101}),
        ("logit_bias", {"1": True}),
        ("logit_bias", {"9999999999": 1}),
        ("logit_bias", {"²": 1}),
        ("logit_bias", {"0" * 100_000: 1}),
        ("logit_bias", {str(number): 1 for number in range(4097)}),
        ("top_k", 2**31),
        ("min_tokens", -1),
        ("stop_token_ids", [-1]),
        ("priority", 1.5),
        ("priority", -1),
        ("max_tokens", 0),
        ("max_completion_tokens", 2**31),
        ("service_tier", "flex"),
        ("store", True),
        ("user", 5),
        ("metadata", "x"),
    ],
)
def test_it_is_refused_by_name(name: str, value: Any) -> None:
    assert refusal(**{name: value}) == name


def test_one_stop_string_is_a_list_of_one() -> None:
    assert sampling(stop="x") == {"stop": ["x"]}
    assert sampling(stop=[]) == {}


def test_top_p_of_zero_leaves_the_likeliest_token() -> None:
    assert sampling(top_p=0) == {"top_k": 1}


def test_both_names_of_the_token_limit() -> None:
    assert sampling(max_completion_tokens=5) == {"max_tokens": 5}
    assert sampling(max_completion_tokens=5, max_tokens=5) == {"max_tokens": 5}
    assert refusal(max_completion_tokens=5, max_tokens=6) == "max_tokens"


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def test_response_formats_become_structured_outputs() -> None:
    assert sampling(response_format={"type": "text"}) == {}
    wanted: dict[str, Any] = {"type": "json_object"}
    assert sampling(response_format=wanted) == {"structured_outputs": {"json_object": True}}
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}}
    assert sampling(response_format=wanted) == {"structured_outputs": {"json": SCHEMA}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"guided_json": SCHEMA}, {"json": SCHEMA}),
        ({"guided_regex": "a+"}, {"regex": "a+"}),
        ({"guided_choice": ["a", "b"]}, {"choice": ["a", "b"]}),
        ({"guided_grammar": "root ::= a"}, {"grammar": "root ::= a"}),
        ({"structured_outputs": {"regex": "a"}}, {"regex": "a"}),
        (
            {"structured_outputs": {"json": SCHEMA, "disable_any_whitespace": True}},
            {"json": SCHEMA, "disable_any_whitespace": True},
        ),
    ],
)
def test_vllms_own_constraints(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert sampling(**given) == {"structured_outputs": expected}


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": "json"}, "response_format"),
        ({"guided_regex": 5}, "guided_regex"),
        ({"guided_json": 5}, "guided_json"),
        ({"guided_regex": "a", "guided_choice": ["a"]}, "guided_choice"),
        ({"structured_outputs": {"regexp": "a"}}, "structured_outputs.regexp"),
        (
            {"response_format": {"type": "json_object"}, "guided_regex": "a"},
            "response_format",
        ),
        ({"structured_outputs": {"regex": "a"}, "guided_regex": "a"}, "guided_regex"),
    ],
)
def test_constraints_that_cannot_be_honoured(given: dict[str, Any], param: str) -> None:
    assert refusal(**given) == param


@pytest.mark.parametrize(
    ("expected", "sent", "param"),
    [
        ("structure.json.properties.a", "guided_json", "guided_json.properties.a"),
        ("structure", "guided_regex", "guided_regex"),
        ("structure.regex", "guided_regex", "guided_regex"),
        ("structure.regex", "structured_outputs", "structured_outputs.regex"),
        ("tools", "guided_json", "tools"),
    ],
)
def test_what_the_engine_refuses_has_the_callers_name(expected: str, sent: str, param: str) -> None:
    refusal = InvalidRequest("no", param=expected)
    given = {"guided_json": SCHEMA, "guided_regex": "a", "structured_outputs": {"regex": "a"}}
    body = {"model": "m", "messages": HELLO, sent: given[sent]}
    refusal.rename(parse_chat(body, 10).names)
    assert refusal.param == param
