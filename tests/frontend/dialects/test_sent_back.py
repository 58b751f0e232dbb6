"""What an SDK got from this or another server it can send back as it is."""

from typing import Any

import pytest

from frontend.dialects.anthropic.requests import parse_messages
from frontend.dialects.openai.chat import parse_chat
from frontend.dialects.openai.responses import parse_response
from frontend.upstreams.triton.contract import write_prompt

HELLO = {"role": "user", "content": "hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "4"}
NULLS = dict.fromkeys(
    (
        *("refusal", "audio", "annotations", "function_call", "logprobs", "parsed", "tool_calls"),
        *("provider_specific_fields", "reasoning_content", "reasoning", "name", "images"),
    )
)

CACHED = {"cache_control": {"type": "ephemeral"}}
Message = dict[str, Any]


def chat(*messages: Message) -> list[Message]:
    parsed = parse_chat({"model": "m", "messages": list(messages)}, 9)
    found: list[Message] = write_prompt(parsed.generation)["messages"]
    return found


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"content": "x"}, {"content": "x"}),
        ({"content": '{"a":1}', "parsed": {"a": 1}}, {"content": '{"a":1}'}),
        ({"content": "x", "annotations": [{"type": "url_citation"}]}, {"content": "x"}),
        (
            {"content": "x", "id": "m1", "object": "message", "finish_reason": "stop"},
            {"content": "x"},
        ),
        ({"content": "x", "provider_specific_fields": {"a": 1}, **CACHED}, {"content": "x"}),
        ({"content": "x", "images": [], "index": 0, "token_ids": [1]}, {"content": "x"}),
        ({"content": "x", "name": "ann"}, {"content": "x", "name": "ann"}),
        (
            {
                "content": "x",
                "reasoning_content": "hm",
                "reasoning": "hm",
                "reasoning_details": [{}],
            },
            {"content": "x", "reasoning_content": "hm"},
        ),
        ({"content": None, "reasoning_content": "hm"}, {"content": "", "reasoning_content": "hm"}),
        ({"content": "x", "reasoning": {"summary": "hm"}}, {"content": "x"}),
        (
            {"content": "x", "thinking_blocks": [{"type": "thinking", "thinking": "t"}]},
            {"content": "x"},
        ),
        ({"content": None, "refusal": "no"}, {"content": "no"}),
        ({"content": None, "audio": {"id": "a", "transcript": "hi"}}, {"content": "hi"}),
        (
            {
                "content": [
                    {"type": "text", "text": "a", **CACHED},
                    {"type": "refusal", "refusal": "b"},
                ]
            },
            {"content": "ab"},
        ),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "x"},
                ]
            },
            {"content": "x", "reasoning_content": "hm"},
        ),
    ],
)
def test_an_assistants_message_is_taken_as_it_is(sent: Message, said: Message) -> None:
    message = {"role": "assistant", **NULLS, **sent}
    assert chat(HELLO, message)[1] == {"role": "assistant", **said}


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": ""}, {"content": []}])
@pytest.mark.parametrize(
    "call",
    [
        {"index": 0, **CALL},
        {**CALL, "function": {**CALL["function"], "parsed_arguments": {"a": 1}}},  # type: ignore[dict-item]
        {**CALL, "function": {**CALL["function"], "arguments": {"a": 1}}},  # type: ignore[dict-item]
        {**CALL, "provider_specific_fields": None, "extra_content": {"google": {}}},
    ],
)
def test_calls_are_taken_whatever_stands_beside_them(content: Message, call: Message) -> None:
    _, called, result = chat(HELLO, {"role": "assistant", **content, "tool_calls": [call]}, RESULT)
    assert called == {"role": "assistant", "content": "", "tool_calls": [CALL]}
    assert result == RESULT


def test_a_call_of_before_there_were_tools_is_one() -> None:
    call = {"name": "f", "arguments": '{"a":1}'}
    _, called, result = chat(
        HELLO,
        {"role": "assistant", "content": None, "function_call": call},
        {"role": "function", "name": "f", "content": "4"},
    )
    assert called["tool_calls"] == [{"type": "function", "function": call}]
    assert result == {"role": "tool", "name": "f", "content": "4"}


@pytest.mark.parametrize("role", ["system", "developer", "user"])
def test_what_has_no_effect_is_taken_in_every_message(role: str) -> None:
    text = {"type": "text", "text": "x", **CACHED, "annotations": None}
    message = {"role": role, "content": [text], **NULLS, **CACHED}
    assert chat(message)[0]["content"] == "x"
    image = {"type": "image_url", "image_url": {"url": "data:x", "detail": None}, **CACHED}
    assert chat({"role": "user", "content": [image]})[0]["content"] == [{"type": "image"}]
    assert chat({**RESULT, **CACHED, "name": "f", "status": "success"})[0] == {
        **RESULT,
        "name": "f",
    }


def test_marks_for_caches_are_taken_on_tools() -> None:
    tool = {"type": "function", "function": {"name": "f", **CACHED}, **CACHED}
    parsed = parse_chat({"model": "m", "messages": [HELLO], "tools": [tool]}, 9)
    assert write_prompt(parsed.generation)["tools"][0]["function"]["name"] == "f"
    assert "cache_control" not in str(parsed.generation)


def test_the_items_of_a_response_are_taken_as_they_are() -> None:
    items = [
        {"type": "reasoning", "id": "r", "summary": [], "content": None, "status": None, "x": 1},
        {
            "type": "message",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "x", "annotations": [], "parsed": {"a": 1}}
            ],
            "parsed": None,
        },
        {
            "type": "function_call",
            "call_id": "c1",
            "name": "f",
            "arguments": "{}",
            "parsed_arguments": {"a": 1},
            "namespace": None,
        },
        {"type": "function_call_output", "call_id": "c1", "output": "4", "status": None},
    ]
    call = parse_response({"model": "m", "input": [HELLO, *items]}, 9).resolved([])
    _, assistant, result = write_prompt(call.generation)["messages"]
    assert assistant["content"] == "x"
    assert assistant["tool_calls"][0]["function"]["name"] == "f"
    assert result["content"] == "4"


def test_blocks_of_an_assistant_are_taken_as_they_are() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s", "x": 1},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
        {"type": "text", "text": "x", "citations": None, "parsed_output": {"a": 1}},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {}, "caller": {"type": "direct"}},
    ]
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [HELLO, {"role": "assistant", "content": blocks}, HELLO],
    }
    _, said, _ = write_prompt(parse_messages(body, 9).generation)["messages"]
    assert said["content"] == "x"
    assert said["reasoning_content"] == "hm"
    assert said["tool_calls"][0]["id"] == "c1"
