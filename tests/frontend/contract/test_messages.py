"""Anthropic's Messages API through the official SDK and the real Triton."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import Anthropic
from pydantic import BaseModel

from tests.frontend.contract.test_vision import picture
from tests.support.echo import EchoTriton, echo_requests
from tests.support.gateway import Gateway

TOOL: Any = {
    "name": "look",
    "description": "looks",
    "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}},
}


@pytest.fixture
def claude(gateway: Gateway) -> Iterator[Anthropic]:
    """The official SDK, unchanged but for its base URL."""
    with Anthropic(base_url=gateway.url, api_key="unused", max_retries=0) as sdk:
        yield sdk


def asked(**script: Any) -> Any:
    return {
        "model": "echo",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": json.dumps(script)}],
    }


def test_a_message(claude: Anthropic) -> None:
    answer = claude.messages.create(**asked(text="one two three"))
    assert (answer.type, answer.role, answer.model) == ("message", "assistant", "echo")
    assert answer.id.startswith("msg_")
    assert [block.model_dump() for block in answer.content] == [
        {"type": "text", "text": "one two three", "citations": None}
    ]
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens == 3
    assert answer.usage.input_tokens > 0
    assert answer._request_id


def test_why_messages_end(claude: Anthropic) -> None:
    cut = claude.messages.create(**asked(text="one two three") | {"max_tokens": 2})
    assert cut.stop_reason == "max_tokens"
    stopped = claude.messages.create(**asked(text="one two three"), stop_sequences=["two"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "two")
    assert stopped.content[0].text == "one "  # type: ignore[union-attr]


def test_a_stream_has_the_events_of_the_api_in_order(claude: Anthropic) -> None:
    calls = [{"name": "look", "arguments": '{"at": "sea"}'}]
    wanted = asked(text="so it is", reasoning="hm", tool_calls=calls, finish_reason="tool_calls")
    with claude.messages.stream(**wanted, tools=[TOOL]) as stream:
        names = [event.type for event in stream]
        message = stream.get_final_message()
    api = [name for name in names if name in anthropic_events]
    assert api[0] == "message_start"
    assert api[-2:] == ["message_delta", "message_stop"]
    assert [block.type for block in message.content] == ["thinking", "tool_use", "text"]
    thinking, call, text = message.content
    assert thinking.type == "thinking"
    assert thinking.thinking == "hm"
    assert call.type == "tool_use"
    assert (call.name, call.input) == ("look", {"at": "sea"})
    assert text.type == "text"
    assert text.text == "so it is"
    assert message.stop_reason == "tool_use"
    whole = claude.messages.create(**wanted, tools=[TOOL])
    assert [one.model_dump() for one in whole.content] == [
        {key: one.model_dump()[key] for key in whole.content[index].model_dump()}
        for index, one in enumerate(message.content)
    ]
    assert whole.usage.output_tokens == message.usage.output_tokens


anthropic_events = {
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
}


def test_results_of_tools_and_images_go_back(claude: Anthropic, echo_triton: EchoTriton) -> None:
    media, _, data = picture("red").removeprefix("data:").partition(";base64,")
    source = {"type": "base64", "media_type": media, "data": data}
    talk: Any = [
        {"role": "user", "content": "what is there"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "x"}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "a cat"},
                {"type": "image", "source": source},
                {"type": "text", "text": "is it this one"},
            ],
        },
    ]
    answer = claude.messages.create(
        model="echo", max_tokens=9, messages=talk, tools=[TOOL], tool_choice={"type": "auto"}
    )
    assert answer.content[0].text == "is it this one"  # type: ignore[union-attr]
    told = echo_requests(echo_triton)[-1]
    roles = [message["role"] for message in told["prompt"]["messages"]]
    assert roles == ["user", "assistant", "tool", "user"]
    assert len(told["images"]) == 1
    assert told["reply"]["tools"][0]["function"]["name"] == "look"


def test_tokens_are_counted_without_an_answer(claude: Anthropic) -> None:
    asked: Any = {"model": "echo", "messages": [{"role": "user", "content": "four words are here"}]}
    assert claude.messages.count_tokens(**asked).input_tokens == 4


def test_parsed_output_is_what_its_schema_says(claude: Anthropic) -> None:
    class Place(BaseModel):
        name: str

    answer = claude.messages.parse(**asked(text='{"name": "Bergen"}'), output_format=Place)
    assert answer.parsed_output == Place(name="Bergen")
    with pytest.raises(anthropic.InternalServerError):
        claude.messages.parse(**asked(text="no place"), output_format=Place)


def test_errors_are_the_sdks_own(claude: Anthropic, gateway: Gateway) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        claude.messages.create(**asked(text="x") | {"model": "nobody"})
    assert unknown.value.type == "not_found_error"
    assert unknown.value.request_id
    with pytest.raises(anthropic.BadRequestError, match="'top_k'"):
        claude.messages.create(**asked(text="x"), extra_body={"top_k": -1})
    with pytest.raises(anthropic.BadRequestError, match="'thinking'"):
        claude.messages.create(**asked(text="x"), thinking={"type": "enabled", "budget_tokens": 20})
    with pytest.raises(anthropic.BadRequestError, match="supports embedding"):
        claude.messages.create(**asked(text="x") | {"model": "echo-embedding"})
    wrong = httpx2.get(f"{gateway.url}/v1/messages")
    assert (wrong.status_code, wrong.json()["type"]) == (405, "error")


def test_a_failure_in_a_stream_is_its_last_event(claude: Anthropic) -> None:
    wanted = asked(text="one two three", fail_after=2)
    with (
        pytest.raises(anthropic.APIStatusError, match="the model failed") as failure,
        claude.messages.stream(**wanted) as stream,
    ):
        stream.until_done()
    assert failure.value.type == "api_error"


def test_models_are_listed_for_its_own_client(claude: Anthropic) -> None:
    models = {model.id: model for model in claude.models.list()}
    assert "echo" in models
    assert models["echo"].created_at.year >= 2024
    assert claude.models.retrieve("echo").display_name == "echo"
