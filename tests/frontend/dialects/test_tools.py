"""Tools: choices checked, calls of messages passed on, deltas that join to the unary answer."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from frontend.dialects.openai.chat import ChatCall, parse_chat
from frontend.upstreams.triton.contract import write_prompt, write_reply
from tests.frontend.dialects.test_chat import HELLO, both_ways
from tests.support.bodies import refused
from tests.support.events import event

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def tool(name: str = "weather", **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA, **function}}


def parse(**fields: Any) -> ChatCall:
    return parse_chat({"model": "m", "messages": [HELLO], **fields}, 10)


def refusal(**fields: Any) -> str | None:
    return refused(parse_chat, {"model": "m", "messages": [HELLO], **fields}, 10).param


def test_tools_reach_the_template_and_the_engine() -> None:
    generation = parse(tools=[tool(description="d", strict=True)]).generation
    assert write_prompt(generation)["tools"] == [tool(description="d", strict=True)]
    assert write_reply(generation) == {
        "tools": write_prompt(generation)["tools"],
        "tool_choice": "auto",
    }


def test_without_tools_the_reply_is_read_for_reasoning_alone() -> None:
    assert write_reply(parse().generation) == {}
    assert write_reply(parse(tools=[], tool_choice="none").generation) == {}
    options = {"chat_template_kwargs": {"enable_thinking": False}, "include_reasoning": False}
    assert write_reply(parse(**options).generation) == options
    asked = parse(reasoning_effort="none").generation
    assert write_prompt(asked)["reasoning_effort"] == "none"
    assert write_reply(asked) == {"chat_template_kwargs": {"enable_thinking": False}}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, "auto"),
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "function": {"name": "time"}}, {"name": "time"}),
    ],
)
def test_choices(choice: Any, expected: Any) -> None:
    call = parse(tools=[tool(), tool("time")], tool_choice=choice, parallel_tool_calls=False)
    assert write_reply(call.generation) is not None
    assert write_reply(call.generation)["tool_choice"] == expected
    assert write_reply(call.generation)["parallel_tool_calls"] is False


def test_allowed_tools_leave_the_others_in_the_prompt() -> None:
    one = {"type": "function", "function": {"name": "time"}}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [one]}}
    generation = parse(tools=[tool(), tool("time")], tool_choice=allowed).generation
    assert write_reply(generation) == {"tools": [tool("time")], "tool_choice": "required"}
    assert write_prompt(generation)["tools"] == [tool(), tool("time")]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": {}}, "tools"),
        ({"tools": [tool()] * 129}, "tools"),
        ({"tools": [tool(), tool()]}, "tools[1].function.name"),
        ({"tools": ["x"]}, "tools[0]"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [tool("no spaces")]}, "tools[0].function.name"),
        ({"tools": [tool(parameters={"type": "array"})]}, "tools[0].function.parameters"),
        ({"tools": [tool(parameters={"type": "cat"})]}, "tools[0].function.parameters"),
        ({"tools": [tool(colour=1)]}, "tools[0].function.colour"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": "often"}, "tool_choice"),
        (
            {"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "tool_choice.function.name",
        ),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": {"name": "f"}}, "function_call"),
        ({"tools": [tool()], "parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [{}]}]}, None),
        (
            {"messages": [{"role": "assistant", "function_call": {"arguments": "{}"}}]},
            "messages[0].function_call.name",
        ),
        ({"tools": [tool("n" * 129)]}, "tools[0].function.name"),
    ],
)
def test_what_cannot_be_honoured(fields: dict[str, Any], param: str | None) -> None:
    assert refusal(**fields) == (param or "messages[0].tool_calls")


@pytest.mark.parametrize("length", [1, 64, 65, 128])
def test_names_are_as_long_as_the_longest_api_allows(length: int) -> None:
    parse(tools=[tool("n" * length)])


def test_schemas_are_handed_on_with_where_they_came_from() -> None:
    schema = {"type": "object", "not": {"required": ["x"]}}
    tools = [tool(parameters=schema), tool(name="g", strict=True)]
    first, second = parse(tools=tools).generation.schemas
    assert (first.path, first.tool, first.schema) == (
        "tools[0].function.parameters",
        "weather",
        schema,
    )
    assert (first.strict, first.enforced) == (False, False)
    assert (second.tool, second.strict, second.enforced) == ("g", True, True)
    first, second = parse(tools=tools, tool_choice="required").generation.schemas
    assert (first.strict, first.enforced) == (False, True)


def test_calls_and_results_reach_the_prompt() -> None:
    called = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        HELLO,
        {"role": "assistant", "content": None, "tool_calls": [called], "reasoning": "hm"},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "4"}]},
    ]
    assert write_prompt(parse(messages=messages).generation)["messages"] == [
        HELLO,
        {"role": "assistant", "content": "", "tool_calls": [called], "reasoning_content": "hm"},
        {"role": "tool", "content": "4", "tool_call_id": "c1"},
    ]


@given(st.lists(st.lists(st.text(max_size=5), min_size=1, max_size=4), min_size=1, max_size=3))
def test_joined_deltas_are_the_unary_calls(calls: list[list[str]]) -> None:
    deltas = [
        {"index": number, "arguments": piece, **(head if not position else {})}
        for number, pieces in enumerate(calls)
        for head in [{"id": f"c{number}", "name": f"f{number}"}]
        for position, piece in enumerate(pieces)
    ]
    events = [event(tool_calls=[delta]) for delta in deltas]
    events.append(event(finish="tool_calls", reasoning_tokens=2))
    body = {"tools": [tool()], "stream": True, "stream_options": {"include_usage": True}}
    unary, chunks = both_ways(body, [event(reasoning="so"), *events])
    ChatCompletion.model_validate(unary)
    message = unary["choices"][0]["message"]
    assert message["content"] is None
    assert message["reasoning_content"] == message["reasoning"] == "so"
    assert unary["choices"][0]["finish_reason"] == "tool_calls"
    assert unary["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2
    joined = [["", "", ""] for _ in calls]
    for chunk in chunks[:-1]:
        ChatCompletionChunk.model_validate(chunk)
        for delta in chunk["choices"][0]["delta"].get("tool_calls") or ():
            joined[delta["index"]][0] += delta.get("id") or ""
            joined[delta["index"]][1] += delta["function"].get("name") or ""
            joined[delta["index"]][2] += delta["function"]["arguments"]
    shown = [
        [c["id"], c["function"]["name"], c["function"]["arguments"]] for c in message["tool_calls"]
    ]
    assert joined == shown
    assert [one[2] for one in joined] == ["".join(pieces) for pieces in calls]
