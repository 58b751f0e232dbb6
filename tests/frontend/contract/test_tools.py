"""Tool calls and reasoning through the official SDK and the real Triton."""

from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from tests.support.echo import EchoTriton, echo_requests, script

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALLS = [
    {"name": "weather", "arguments": '{"city": "Zürich"}'},
    {"name": "weather", "arguments": '{"city": "Bern"}'},
]


def test_calls_arrive_whole(client: OpenAI, echo_triton: EchoTriton) -> None:
    answer = client.chat.completions.create(
        model="echo",
        messages=script(tool_calls=CALLS, finish_reason="tool_calls"),
        tools=[WEATHER],
        parallel_tool_calls=True,
    )
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    calls: Any = choice.message.tool_calls
    assert [(c.function.name, c.function.arguments) for c in calls] == [
        (call["name"], call["arguments"]) for call in CALLS
    ]
    told = echo_requests(echo_triton)[-1]
    assert told["prompt"]["tools"] == [WEATHER]
    assert told["reply"] == {
        "tools": [WEATHER],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
    }


def test_streamed_calls_join_in_the_sdk(client: OpenAI) -> None:
    asked = script(tool_calls=CALLS, finish_reason="tool_calls", reasoning="which city")
    with client.chat.completions.stream(model="echo", messages=asked, tools=[WEATHER]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert kinds.count("tool_calls.function.arguments.done") == 2
    message = final.choices[0].message
    calls: Any = message.tool_calls
    assert [call.function.arguments for call in calls] == [call["arguments"] for call in CALLS]
    assert message.model_extra is not None
    assert message.model_extra["reasoning_content"] == "which city"


def test_results_are_sent_back(client: OpenAI, echo_triton: EchoTriton) -> None:
    first = client.chat.completions.create(
        model="echo", messages=script(tool_calls=CALLS[:1]), tools=[WEATHER]
    )
    said = first.choices[0].message
    assert said.tool_calls
    result: Any = {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "sunny"}
    second = client.chat.completions.create(
        model="echo",
        messages=[{"role": "user", "content": "weather?"}, said, result],  # type: ignore[list-item]
        tools=[WEATHER],
    )
    assert second.choices[0].message.content == "sunny"
    messages = echo_requests(echo_triton)[-1]["prompt"]["messages"]
    assert messages[1]["tool_calls"][0]["function"]["arguments"] == CALLS[0]["arguments"]


def test_what_came_before_tools_is_refused_by_name(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="'functions' is not supported") as caught:
        client.chat.completions.create(
            model="echo", messages=script(text="x"), functions=[{"name": "f"}]
        )
    assert caught.value.param == "functions"
