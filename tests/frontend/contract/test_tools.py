"""Tool calls and reasoning through the official SDK and the real Triton."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import BadRequestError, OpenAI

from tests.support.echo import EchoTriton, echo_requests, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.lying import MODEL, lying_server

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


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose upstream calls a tool with arguments that are not an object."""
    folder: Path = tmp_path_factory.mktemp("odd")
    with lying_server() as server:
        server.models = [{**MODEL, "capabilities": ["chat", "completion", "tools"]}]
        server.faults = ("odd call",)
        entry = {"name": "next", "url": f"{server.url}/v1", "engine": "vllm"}
        (folder / "upstreams.json").write_text(json.dumps({"upstreams": [entry]}))
        flags = ["--upstreams", str(folder / "upstreams.json"), "--cache", "deterministic"]
        with run_gateway("127.0.0.1:9", folder / "log", *flags) as gateway:
            yield gateway


@pytest.mark.parametrize("stream", [False, True])
def test_what_an_openai_server_says_is_a_call_stays_one(odd: Gateway, stream: bool) -> None:
    asked: Any = {"model": "echo", "tools": [WEATHER], "temperature": 0, "seed": 1}
    talk: Any = [{"role": "user", "content": "weather?"}]
    with OpenAI(base_url=f"{odd.url}/v1", api_key="unused", max_retries=0) as sdk:
        if stream:
            with sdk.chat.completions.stream(**asked, messages=talk) as events:
                (choice,) = events.get_final_completion().choices
        else:
            (choice,) = sdk.chat.completions.create(**asked, messages=talk).choices
        (call,) = choice.message.tool_calls or ()
        assert call.type == "function"
        assert (call.id, call.function.name) == ("call_1", "weather")
        assert (call.function.arguments, choice.finish_reason) == ('["Ulm"]', "tool_calls")
        # the client that ran it says so, and gets the next answer
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": "no city"}
        said: Any = choice.message.model_dump(exclude_none=True, exclude={"parsed"})
        said["tool_calls"][0]["function"].pop("parsed_arguments", None)
        again = sdk.chat.completions.create(**asked, messages=[*talk, said, result])
        assert again.choices[0].finish_reason == "tool_calls"
        tool: Any = {"type": "function", **WEATHER["function"]}
        response = sdk.responses.create(model="echo", input="weather?", tools=[tool])
        assert [getattr(one, "arguments", None) for one in response.output] == ['["Ulm"]']


@pytest.mark.parametrize("stream", [False, True])
def test_dialects_with_arguments_as_objects_have_it_as_text(odd: Gateway, stream: bool) -> None:
    talk = [{"role": "user", "content": "weather?"}]
    schema = WEATHER["function"]["parameters"]
    options: dict[str, Any] = {"temperature": 0, "seed": 1}
    body: dict[str, Any] = {"model": "echo", "messages": talk, "stream": stream}
    # the answer for OpenAI's dialect must not come out of the cache
    asked = {**body, **options, "tools": [WEATHER], "max_tokens": 9}
    assert "call_1" in httpx2.post(f"{odd.url}/v1/chat/completions", json=asked).text
    ollama = httpx2.post(
        f"{odd.url}/api/chat",
        json={**body, "tools": [WEATHER], "options": {**options, "num_predict": 9}},
    )
    lines = [json.loads(line) for line in ollama.text.splitlines()]
    assert "".join(one["message"]["content"] for one in lines) == '["Ulm"]'
    assert not any(one["message"].get("tool_calls") for one in lines)
    tool = {"name": "weather", "input_schema": schema}
    asked = {**body, "tools": [tool], "max_tokens": 9, "temperature": 0}
    anthropic = httpx2.post(f"{odd.url}/v1/messages", json=asked)
    assert anthropic.status_code == 200
    assert "tool_use" not in anthropic.text
    assert r"[\"Ulm\"]" in anthropic.text
