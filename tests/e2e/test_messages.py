"""Anthropic's API on the default language model, through the official SDK."""

from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import Anthropic

from tests.e2e.conftest import CHAT
from tests.support.processes import Service

TOOL: Any = {
    "name": "weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo", "Bergen"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


@pytest.fixture
def claude(service: Service) -> Iterator[Anthropic]:
    """The official SDK, unchanged but for its base URL."""
    with Anthropic(base_url=service.url, api_key="unused", max_retries=0) as sdk:
        yield sdk


def asked(content: str) -> Any:
    return {"model": CHAT, "messages": [{"role": "user", "content": content}]}


def test_a_stream_joins_to_the_whole_message_and_counts_its_prompt(claude: Anthropic) -> None:
    request = asked("What is the capital of France?") | {"extra_body": {"temperature": 0}}
    whole = claude.messages.create(**request, max_tokens=30)
    with claude.messages.stream(**request, max_tokens=30) as stream:
        message = stream.get_final_message()
    assert message.content[0].model_dump(exclude={"parsed_output"}) == whole.content[0].model_dump()
    assert "Paris" in whole.content[0].text  # type: ignore[union-attr]
    counted = claude.messages.count_tokens(**asked("What is the capital of France?"))
    usage = whole.usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_a_forced_call_obeys_its_schema(claude: Anthropic) -> None:
    answer = claude.messages.create(
        **asked("How is the weather in Bergen?"),
        max_tokens=60,
        tools=[TOOL],
        tool_choice={"type": "tool", "name": "weather"},
    )
    assert answer.stop_reason == "tool_use"
    (call,) = answer.content
    assert call.type == "tool_use"
    assert call.input["city"] in ("Oslo", "Bergen")
