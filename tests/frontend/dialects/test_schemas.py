"""Schemas: bounded, refused by keyword, never fetched; replies checked against them."""

import json
from typing import Any

import pytest
from frontend.dialects.schemas import MAX_BYTES, MAX_DEPTH, Structure, check_schema
from hypothesis import given
from hypothesis import strategies as st

from frontend.dialects.openai.chat import ChatAnswer, ChatChunks, parse_chat
from frontend.dialects.openai.completions import CompletionAnswer, parse_completion
from frontend.errors import BackendFailed, InvalidRequest
from tests.frontend.dialects.test_chat import HELLO
from tests.frontend.events import event
from tests.schemas import Schema, schemas


def deep(levels: int) -> Schema:
    schema: Schema = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def of_properties(**properties: Any) -> Schema:
    return {"type": "object", "properties": properties}


@given(schemas())
def test_what_applications_ask_for_is_taken(schema: Schema) -> None:
    Structure.of(schema, "s")


@pytest.mark.parametrize(
    ("schema", "param"),
    [
        ({"type": "cat"}, "s"),
        ({"type": "object", "required": "a"}, "s"),
        (of_properties(a={"$ref": "http://169.254.169.254/x"}), "s.properties.a.$ref"),
        (of_properties(a={"$ref": "file:///etc/passwd"}), "s.properties.a.$ref"),
        ({"$ref": "#/$defs/none"}, "s"),
        (deep(MAX_DEPTH), "s" + ".items" * MAX_DEPTH),
        ({"description": "x" * MAX_BYTES}, "s"),
        (of_properties(**{f"p{n}": {} for n in range(5001)}), "s"),
        ({"enum": list(range(1001))}, "s.enum"),
        ({"not": {}}, "s.not"),
        (of_properties(a={"if": {}, "then": {}}), "s.properties.a.if"),
        ({"anyOf": [{}, {"type": "array", "uniqueItems": True}]}, "s.anyOf[1].uniqueItems"),
        ({"allOf": [{"type": "object"}, {"required": ["a"]}]}, "s.allOf"),
        ({"$defs": {"a": {"dependentRequired": {}}}}, "s.$defs.a.dependentRequired"),
        (of_properties(a={"type": "string", "format": "colour"}), "s.properties.a.format"),
        ({"type": "string", "pattern": "(?=a)b"}, "s"),
        ({"type": "string", "pattern": "a", "minLength": 2}, "s.pattern"),
        ({"type": "array", "prefixItems": [{"contains": {}}]}, "s.prefixItems[0].contains"),
    ],
)
def test_what_cannot_be_enforced_is_named(schema: Schema, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Structure.of(schema, "s")
    assert refused.value.param == param


def test_a_property_may_be_called_like_a_keyword() -> None:
    check_schema(of_properties(**{"not": {"type": "string"}, "if": {}}), "s", enforced=True)


def test_a_pattern_takes_linear_time() -> None:
    slow = {"type": "string", "pattern": "^(a+)+$"}
    assert not Structure.of(slow, "s").matches(json.dumps("a" * 50_000 + "b"))


@pytest.mark.parametrize(
    ("text", "fits"),
    [('{"a": 1}', True), ('{"a": "x"}', False), ('{"a": 1', False), ("", False), ("[]", False)],
)
def test_texts_are_checked(text: str, fits: bool) -> None:
    schema = of_properties(a={"type": "integer"})
    assert Structure.of(schema, "s").matches(text) is fits
    assert Structure.of_object().matches(text) is (fits or text == '{"a": "x"}')


FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {}}}
FORMAT["json_schema"]["schema"] = of_properties(a={"type": "integer"})  # type: ignore[index]


def test_a_format_reaches_the_engine() -> None:
    call = parse_chat({"model": "m", "messages": [HELLO], "response_format": FORMAT}, 10)
    assert call.generation.sampling == {
        "structured_outputs": {"json": of_properties(a={"type": "integer"})}
    }
    call = parse_chat(
        {"model": "m", "messages": [HELLO], "response_format": {"type": "json_object"}}, 10
    )
    assert call.generation.sampling == {"structured_outputs": {"json_object": True}}


@given(st.lists(st.text(max_size=3), max_size=4), st.sampled_from(["stop", "length"]))
def test_an_answer_that_stops_wrong_fails_whole_and_streamed(texts: list[str], end: str) -> None:
    call = parse_chat({"model": "m", "messages": [HELLO], "response_format": FORMAT}, 10)
    events = [*map(event, texts), event("!", finish=end)]
    for taken in (ChatAnswer(call, "1", "m").add, ChatChunks(call, "1", "m").chunk):
        for one in events[:-1]:
            taken(one)
        if end == "length":
            taken(events[-1])
            continue
        with pytest.raises(BackendFailed) as failed:
            taken(events[-1])
        assert failed.value.code == "invalid_structured_output"


def test_right_answers_and_tool_calls_pass() -> None:
    body = {"model": "m", "messages": [HELLO], "response_format": FORMAT, "n": 2}
    answer = ChatAnswer(parse_chat(body, 10), "1", "m")
    for one in (event('{"a"', 0), event(tool_calls=[{"index": 0, "arguments": ""}], index=1)):
        answer.add(one)
    answer.add(event(": 1}", 0, "stop"))
    answer.add(event("", 1, "stop"))


def test_completions_are_checked_prompt_by_prompt() -> None:
    body = {"model": "m", "prompt": ["a", "b"], "n": 2, "response_format": {"type": "json_object"}}
    answer = CompletionAnswer(parse_completion(body, 10), "1", "m")
    answer.add(0, event("{}", 1, "stop"))
    with pytest.raises(BackendFailed):
        answer.add(1, event("{", 1, "stop"))
