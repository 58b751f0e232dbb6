"""What the engine could not finish, in every dialect: an error is not an answer, half a call not a
call."""

import json
from typing import Any

import httpx2
import pytest

from tests.support.processes import wait_for

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"
OLLAMA, GENERATE = "/api/chat", "/api/generate"
EVERY = [CHAT, COMPLETIONS, MESSAGES, RESPONSES, OLLAMA, GENERATE]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
CUT = {"name": "weather", "arguments": '{"city": "'}


def body(path: str, stream: bool = False, **script: Any) -> dict[str, Any]:
    said = json.dumps(script)
    asked: dict[str, Any] = {"model": "echo", "stream": stream}
    if path in (COMPLETIONS, GENERATE):
        return asked | {"prompt": said, "max_tokens": 90}
    if path == RESPONSES:
        return asked | {"input": said}
    return asked | {"messages": [{"role": "user", "content": said}], "max_tokens": 90}


def with_tool(path: str, asked: dict[str, Any]) -> dict[str, Any]:
    if path == MESSAGES:
        tool: dict[str, Any] = {"name": "weather", "input_schema": SCHEMA}
    elif path == RESPONSES:
        tool = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
    else:
        tool = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    return asked | {"tools": [tool]}


@pytest.mark.parametrize("path", EVERY)
def test_an_engine_error_is_no_answer(raw: httpx2.Client, path: str) -> None:
    answer = raw.post(path, json=body(path, text="half a", finish_reason="error"))
    assert answer.status_code == 502, answer.text
    assert "half a" not in answer.text
    assert "error" in answer.json()


@pytest.mark.parametrize("path", EVERY)
def test_an_engine_error_ends_a_stream_with_an_error(raw: httpx2.Client, path: str) -> None:
    asked = body(path, stream=True, text="one two three", finish_reason="error")
    answer = raw.post(path, json=asked)
    assert answer.status_code == 200
    assert "one " in answer.text, "what came before the failure was handed on"
    last = [line for line in answer.text.splitlines() if line.strip()][-1]
    assert "error" in json.loads(last.removeprefix("data: "))
    for ending in ("[DONE]", "message_stop", "response.completed", '"done":true', '"length"'):
        assert ending not in answer.text


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES, OLLAMA])
@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls"])
@pytest.mark.parametrize("stream", [False, True])
def test_half_a_call_is_text(raw: httpx2.Client, path: str, reason: str, stream: bool) -> None:
    asked = with_tool(path, body(path, stream, text="", tool_calls=[CUT], finish_reason=reason))
    answer = raw.post(path, json=asked)
    assert answer.status_code == 200, answer.text
    assert json.dumps(CUT["arguments"]) in answer.text
    for mark in ('"tool_calls"', '"tool_use"', '"function_call"'):
        assert mark not in answer.text
    told = "length" if reason == "length" else "stop"
    ended = {
        CHAT: f'"finish_reason":"{told}"',
        MESSAGES: '"stop_reason":"' + ("m" if reason == "length" else "end_turn"),
        RESPONSES: '"status":"incomplete"',
        OLLAMA: f'"done_reason":"{told}"',
    }
    assert ended[path] in answer.text


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES, OLLAMA])
def test_a_whole_call_before_half_a_one_is_handed_out(raw: httpx2.Client, path: str) -> None:
    whole = {"name": "weather", "arguments": '{"city": "Rome"}'}
    asked = body(path, text="", tool_calls=[whole, CUT], finish_reason="length")
    told = raw.post(path, json=with_tool(path, asked)).json()
    if path == CHAT:
        (choice,) = told["choices"]
        (call,) = choice["message"]["tool_calls"]
        assert json.loads(call["function"]["arguments"]) == {"city": "Rome"}
        assert choice["finish_reason"] == "length"
    elif path == MESSAGES:
        (call,) = [block for block in told["content"] if block["type"] == "tool_use"]
        assert call["input"] == {"city": "Rome"}
        assert told["stop_reason"] in ("max_tokens", "model_context_window_exceeded")
    elif path == RESPONSES:
        (call,) = [item for item in told["output"] if item["type"] == "function_call"]
        assert json.loads(call["arguments"]) == {"city": "Rome"}
        assert told["status"] == "incomplete"
    else:
        (call,) = told["message"]["tool_calls"]
        assert call["function"]["arguments"] == {"city": "Rome"}
        assert told["done_reason"] == "length"


def test_what_a_failed_answer_took_is_billed(raw: httpx2.Client, gateway: Any) -> None:
    asked = body(CHAT, text="one two three", finish_reason="error")
    answer = raw.post(CHAT, json=asked, headers={"x-request-id": "billed-all-the-same"})
    assert answer.status_code == 502
    wait_for(lambda: "billed-all-the" in gateway.log.read_text(), what="the line")
    (line,) = [one for one in gateway.log.read_text().splitlines() if "billed-all-the" in one]
    assert json.loads(line[line.index("{") :])["completion_tokens"] == 3
