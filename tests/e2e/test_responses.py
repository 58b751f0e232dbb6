"""The Responses API on the default language model, through the official SDK."""

import json
from typing import Any, Literal

from openai import OpenAI
from pydantic import BaseModel

from tests.e2e.conftest import CHAT

TOOL: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo", "Bergen"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


def test_a_conversation_is_continued(client: OpenAI) -> None:
    first = client.responses.create(
        model=CHAT, input="What is the capital of France?", temperature=0, max_output_tokens=30
    )
    assert "Paris" in first.output_text
    counted = client.responses.input_tokens.count(
        model=CHAT, input="What is the capital of France?"
    )
    assert first.usage is not None
    assert counted.input_tokens == first.usage.input_tokens
    second = client.responses.create(
        model=CHAT, input="And of Italy?", previous_response_id=first.id, max_output_tokens=5
    )
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.total_tokens


def test_a_forced_call_and_its_result(client: OpenAI) -> None:
    answer = client.responses.create(
        model=CHAT,
        input="How is the weather in Bergen?",
        tools=[TOOL],
        tool_choice={"type": "function", "name": "weather"},
        max_output_tokens=60,
    )
    (call,) = answer.output
    assert call.type == "function_call"
    assert json.loads(call.arguments)["city"] in ("Oslo", "Bergen")
    after = client.responses.create(
        model=CHAT,
        previous_response_id=answer.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "rain"}],
        max_output_tokens=10,
    )
    assert after.output_text


def test_parsed_output_obeys_its_schema(client: OpenAI) -> None:
    class Answer(BaseModel):
        colour: Literal["red", "green"]

    answer = client.responses.parse(
        model=CHAT, input="Which colour has grass?", text_format=Answer, max_output_tokens=60
    )
    assert answer.output_parsed is not None
