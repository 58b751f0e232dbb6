"""Tools and structured output on the default language model, through the official SDK."""

import json
from typing import Any, Literal

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, example, given, settings
from openai import BadRequestError, InternalServerError, OpenAI
from pydantic import BaseModel

from tests.e2e.conftest import CHAT
from tests.support.schemas import schemas

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"enum": ["Paris", "London", "Rome"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
ASK: Any = [{"role": "user", "content": "How is the weather in Paris for the next 3 days?"}]
NAMED: Any = {"type": "function", "function": {"name": "get_weather"}}


class Fruit(BaseModel):
    """A structured reply."""

    name: str
    colour: Literal["red", "green", "yellow"]
    ripe: bool


def test_the_model_can_be_made_to_call(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=CHAT,
        messages=ASK,
        tools=[WEATHER],
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=0,
        max_tokens=100,
    )
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    calls: Any = choice.message.tool_calls
    (call,) = calls
    arguments = json.loads(call.function.arguments)
    assert arguments["city"] in {"Paris", "London", "Rome"}
    assert 1 <= arguments["days"] <= 9
    messages = [
        *ASK,
        choice.message,
        {"role": "tool", "tool_call_id": call.id, "content": "sunny, 25 degrees"},
    ]
    final = client.chat.completions.create(
        model=CHAT, messages=messages, tools=[WEATHER], temperature=0, max_tokens=40
    )
    assert final.usage is not None
    assert answer.usage is not None
    assert final.usage.prompt_tokens > answer.usage.prompt_tokens
    assert final.choices[0].message.content or final.choices[0].message.tool_calls


NOW: Any = {"type": "function", "function": {"name": "now", "description": "The time"}}


@pytest.mark.parametrize("choice", ["required", NAMED])
@pytest.mark.parametrize("cut", [{"stop": ["Paris"]}, {"max_tokens": 4}])
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_was_cut_is_told_as_text(
    client: OpenAI, choice: Any, cut: dict[str, Any], stream: bool
) -> None:
    asked: Any = {"model": CHAT, "messages": ASK, "tools": [WEATHER], "tool_choice": choice}
    asked |= {"temperature": 0, "max_tokens": 100, "parallel_tool_calls": False, **cut}
    if stream:
        chunks = [
            chunk.choices[0] for chunk in client.chat.completions.create(**asked, stream=True)
        ]
        assert not any(chunk.delta.tool_calls for chunk in chunks)
        text, reason = "".join(c.delta.content or "" for c in chunks), chunks[-1].finish_reason
    else:
        (answer,) = client.chat.completions.create(**asked).choices
        assert not answer.message.tool_calls
        text, reason = answer.message.content or "", answer.finish_reason
    assert reason == ("stop" if "stop" in cut else "length")
    assert text.startswith("<tool_call"), "as the model writes calls"
    assert ('"city": "' in text) is ("stop" in cut)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "now"}}])
def test_a_function_without_arguments_is_called_at_once(client: OpenAI, choice: Any) -> None:
    answer = client.chat.completions.create(
        model=CHAT,
        messages=[{"role": "user", "content": "What time is it now?"}],
        tools=[NOW],
        tool_choice=choice,
        parallel_tool_calls=False,
        temperature=0,
        max_tokens=100,
    )
    (call,) = answer.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("now", {})
    assert answer.choices[0].finish_reason in ("stop", "tool_calls")


def test_a_schema_that_cannot_be_compiled_is_refused_by_its_place(client: OpenAI) -> None:
    for schema in ({"$ref": "#"}, {"type": "string", "pattern": "(((a{1,99}){1,99}){1,99}"}):
        with pytest.raises(BadRequestError) as caught:
            client.chat.completions.create(
                model=CHAT,
                messages=ASK,
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": schema},
                },
                stream=True,
            )
        assert (caught.value.param or "").startswith("response_format.json_schema.schema")


def test_a_streamed_named_call_joins_to_the_unary_one(client: OpenAI) -> None:
    asked: Any = {"model": CHAT, "messages": ASK, "tools": [WEATHER], "tool_choice": NAMED}
    asked |= {"temperature": 0, "max_tokens": 100}
    answer = client.chat.completions.create(**asked)
    joined = ""
    for chunk in client.chat.completions.create(**asked, stream=True):
        for call in chunk.choices[0].delta.tool_calls or ():
            joined += call.function.arguments
            assert call.index == 0
    calls: Any = answer.choices[0].message.tool_calls
    assert joined == calls[0].function.arguments
    assert json.loads(joined)["city"]
    assert answer.choices[0].finish_reason == "stop"


def test_parse_gives_a_pydantic_object(client: OpenAI) -> None:
    answer = client.chat.completions.parse(
        model=CHAT,
        messages=[{"role": "user", "content": "Describe a banana as JSON."}],
        response_format=Fruit,
        temperature=0,
        max_tokens=120,
    )
    fruit = answer.choices[0].message.parsed
    assert isinstance(fruit, Fruit)


def test_a_json_object_is_one(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=CHAT,
        messages=[{"role": "user", "content": 'Reply with {"ok": true} as JSON.'}],
        response_format={"type": "json_object"},
        temperature=0,
        max_tokens=120,
    )
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


def test_a_keyword_that_the_grammar_lacks_is_checked_at_the_end(client: OpenAI) -> None:
    """The grammar leaves one answer, so that it is known what the check has to say about it."""
    patient = client.with_options(max_retries=0).chat.completions.with_raw_response
    for forbidden in (2, 1):
        schema = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}
        schema["not"] = {"properties": {"a": {"const": forbidden}}}
        asked: Any = {"model": CHAT, "messages": ASK, "max_tokens": 40}
        schema_format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        if forbidden == 1:
            with pytest.raises(InternalServerError) as caught:
                patient.create(**asked, response_format=schema_format)
            assert caught.value.code == "invalid_structured_output"
            return
        answer = patient.create(**asked, response_format=schema_format)
        assert "response_format.json_schema.schema.not" in answer.headers["warning"]
        assert json.loads(answer.parse().choices[0].message.content or "") == {"a": 1}


def test_names_that_json_escapes_are_enforced(client: OpenAI) -> None:
    point = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    point |= {"additionalProperties": False}
    schema = {"type": "object", "properties": {'"': point, "\\": {"type": "number"}, "": point}}
    schema |= {"required": ['"', "\\", ""], "additionalProperties": False}
    answer = client.chat.completions.create(
        model=CHAT,
        messages=[{"role": "user", "content": "Fill in something short."}],
        response_format={"type": "json_schema", "json_schema": {"name": "made", "schema": schema}},
        seed=3,
        max_tokens=120,
    )
    if answer.choices[0].finish_reason == "stop":
        jsonschema_rs.validate(schema, json.loads(answer.choices[0].message.content or ""))


def of_character(character: str) -> dict[str, Any]:
    """A schema that wants a character in a constant, a name and a pattern."""
    properties = {
        "c": {"const": character},
        character: {"enum": [[character]]},
        "p": {"type": "string", "pattern": f"^{character}$"},
    }
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return schema | {"additionalProperties": False}


@pytest.mark.parametrize("character", ["\U00040000", "\U000bffff", "\U0010ffff", "\uffff", "😀"])
def test_characters_that_the_vocabulary_lacks_are_written_as_escapes(
    client: OpenAI, character: str
) -> None:
    schema = of_character(character)
    schema_format: Any = {"type": "json_schema", "json_schema": {"name": "made", "schema": schema}}
    answer = client.chat.completions.create(
        model=CHAT, messages=ASK, response_format=schema_format, seed=1, max_tokens=200
    )
    (choice,) = answer.choices
    assert choice.finish_reason == "stop"
    jsonschema_rs.validate(schema, json.loads(choice.message.content or ""))


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(schema=schemas())
@example(schema={"type": "object", "properties": {"": {"enum": [["\U00040000"], []]}}})
def test_no_schema_is_broken_at_a_stop(client: OpenAI, schema: dict[str, Any]) -> None:
    schema_format: Any = {"type": "json_schema", "json_schema": {"name": "made", "schema": schema}}
    try:
        answer = client.with_options(max_retries=0).chat.completions.create(
            model=CHAT,
            messages=[{"role": "user", "content": "Fill in something short."}],
            response_format=schema_format,
            seed=1,
            max_tokens=80,
        )
    except InternalServerError as error:  # what the grammar lacks, the check refuses
        if error.code != "invalid_structured_output":
            raise
        return
    if answer.choices[0].finish_reason == "stop":
        jsonschema_rs.validate(schema, json.loads(answer.choices[0].message.content or ""))
