"""What the official SDKs make of an answer, sent back with the next request."""

from typing import Any

import pytest
from openai import OpenAI, pydantic_function_tool
from pydantic import BaseModel

from tests.support.echo import EchoTriton, echo_requests, script


class City(BaseModel):
    """Where."""

    name: str


TEXT = '{"name": "Oslo"}'
CALLS = [{"name": "City", "arguments": TEXT}]


@pytest.mark.filterwarnings("ignore:Pydantic serializer")  # the SDK's own, of its `parsed`
def test_a_parsed_message_is_sent_back(client: OpenAI, echo_triton: EchoTriton) -> None:
    first = client.chat.completions.parse(
        model="echo", messages=script(text=TEXT), response_format=City
    )
    said = first.choices[0].message
    assert said.parsed == City(name="Oslo")
    again: Any = [{"role": "user", "content": "hi"}, said, {"role": "user", "content": "and?"}]
    client.chat.completions.parse(model="echo", messages=again)
    told = echo_requests(echo_triton)[-1]["prompt"]["messages"]
    assert told[1] == {"role": "assistant", "content": TEXT}


def test_parsed_calls_of_a_stream_are_sent_back(client: OpenAI, echo_triton: EchoTriton) -> None:
    asked: Any = script(tool_calls=CALLS, finish_reason="tool_calls", reasoning="hm")
    tools = [pydantic_function_tool(City)]
    with client.chat.completions.stream(model="echo", messages=asked, tools=tools) as stream:
        stream.until_done()
        said = stream.get_final_completion().choices[0].message
    assert said.tool_calls
    assert said.tool_calls[0].function.parsed_arguments == City(name="Oslo")
    result = {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "rain"}
    again: Any = [{"role": "user", "content": "hi"}, said, result]
    second = client.chat.completions.create(model="echo", messages=again, tools=tools)
    assert second.choices[0].message.content == "rain"
    dumped: Any = [again[0], said.model_dump(), result]
    client.chat.completions.create(model="echo", messages=dumped, tools=tools)
    for told in echo_requests(echo_triton)[-2:]:
        called = told["prompt"]["messages"][1]
        assert called["tool_calls"][0]["function"] == CALLS[0]
        assert called["reasoning_content"] == "hm"


def test_a_parsed_response_is_sent_back(client: OpenAI) -> None:
    asked: Any = script(text=TEXT)
    first = client.responses.parse(model="echo", input=asked, text_format=City)
    assert first.output_parsed == City(name="Oslo")
    again: Any = [*asked, *first.output, {"role": "user", "content": "and?"}]
    assert client.responses.create(model="echo", input=again).output_text == "and?"
    dumped = [*asked, *(item.model_dump() for item in first.output), again[-1]]
    assert client.responses.create(model="echo", input=dumped).output_text == "and?"
