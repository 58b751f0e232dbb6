"""The Responses API through the official SDK and the real Triton."""

import json
from typing import Any

import pytest
from openai import APIError, BadRequestError, NotFoundError, OpenAI
from pydantic import BaseModel

from tests.frontend.contract.test_vision import picture
from tests.support.echo import EchoTriton, echo_requests
from tests.support.gateway import run_gateway

TOOL: Any = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
    "strict": False,
}


def asked(**script: Any) -> Any:
    return {"model": "echo", "input": json.dumps(script)}


def test_a_response(client: OpenAI) -> None:
    answer = client.responses.create(**asked(text="one two three"), metadata={"a": "b"})
    assert (answer.status, answer.output_text, answer.model) == (
        "completed",
        "one two three",
        "echo",
    )
    assert answer.metadata == {"a": "b"}
    assert answer.usage is not None
    assert answer.usage.output_tokens == 3
    cut = client.responses.create(**asked(text="one two three"), max_output_tokens=2)
    assert (cut.status, cut.output_text) == ("incomplete", "one two ")
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"


def test_a_stream_has_the_events_of_the_api_in_order(client: OpenAI) -> None:
    calls = [{"name": "look", "arguments": '{"at": "sea"}'}]
    wanted = asked(text="so it is", reasoning="hm", tool_calls=calls, finish_reason="tool_calls")
    events = list(client.responses.create(**wanted, tools=[TOOL], stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    names: list[str] = []
    for event in events:
        if names[-1:] != [event.type]:  # deltas may be any number
            names.append(event.type)
    item = ["response.output_item.added", "response.output_item.done"]
    part = ["response.content_part.added", "response.content_part.done"]

    def spoken(kind: str) -> list[str]:
        said = [f"response.{kind}.delta", f"response.{kind}.done"]
        return [item[0], part[0], *said, part[1], item[1]]

    called = [f"response.function_call_arguments.{one}" for one in ("delta", "done")]
    assert names == [
        "response.created",
        "response.in_progress",
        *spoken("reasoning_text"),
        *(item[0], *called, item[1]),
        *spoken("output_text"),
        "response.completed",
    ]
    whole = client.responses.create(**wanted, tools=[TOOL])
    last: Any = events[-1]
    plain = [[one.model_dump(exclude={"id"}) for one in it.output] for it in (whole, last.response)]
    assert plain[0] == plain[1]
    with client.responses.stream(**wanted, tools=[TOOL]) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_text == "so it is"


def test_a_response_is_continued_and_forgotten(client: OpenAI, echo_triton: EchoTriton) -> None:
    first = client.responses.create(
        model="echo", input="what is there", instructions="be brief", tools=[TOOL]
    )
    second = client.responses.create(
        model="echo", input="and then", previous_response_id=first.id, stream=True
    )
    ids = [event.response.id for event in second if event.type == "response.completed"]
    told = echo_requests(echo_triton)[-1]["prompt"]["messages"]
    assert told == [
        {"role": "user", "content": "what is there"},
        {"role": "assistant", "content": "what is there"},
        {"role": "user", "content": "and then"},
    ]
    kept = client.responses.retrieve(ids[0])
    assert (kept.output_text, kept.previous_response_id) == ("and then", first.id)
    items = client.responses.input_items.list(ids[0]).data
    assert [item.content[0].text for item in items] == [  # type: ignore[union-attr]
        "and then",
        "what is there",
        "what is there",
    ]
    client.responses.delete(first.id)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(BadRequestError) as refusal:
        client.responses.create(model="echo", input="x", previous_response_id=first.id)
    assert refusal.value.code == "previous_response_not_found"
    assert client.responses.retrieve(ids[0]).id == ids[0]


def test_what_is_not_to_be_stored_is_not(client: OpenAI) -> None:
    answer = client.responses.create(model="echo", input="secret", store=False)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(answer.id)


def test_results_of_tools_and_images_go_back(client: OpenAI, echo_triton: EchoTriton) -> None:
    calls = [{"name": "look", "arguments": '{"at": "sea"}'}]
    first = client.responses.create(
        **asked(tool_calls=calls, finish_reason="tool_calls"), tools=[TOOL]
    )
    call = first.output[0]
    assert call.type == "function_call"
    client.responses.create(
        model="echo",
        previous_response_id=first.id,
        tools=[TOOL],
        input=[
            {"type": "function_call_output", "call_id": call.call_id, "output": "waves"},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "and this"},
                    {"type": "input_image", "image_url": picture("red"), "detail": "auto"},
                ],
            },
        ],
    )
    told = echo_requests(echo_triton)[-1]
    roles = [message["role"] for message in told["prompt"]["messages"]]
    assert roles == ["user", "assistant", "tool", "user"]
    assert told["prompt"]["messages"][1]["tool_calls"][0]["id"] == call.call_id
    assert len(told["images"]) == 1


def test_parsed_output_is_what_its_schema_says(client: OpenAI) -> None:
    class Place(BaseModel):
        name: str

    answer = client.responses.parse(**asked(text='{"name": "Bergen"}'), text_format=Place)
    assert answer.output_parsed == Place(name="Bergen")
    with pytest.raises(APIError, match=r"text\.format\.schema"):
        client.responses.parse(**asked(text="no place"), text_format=Place)


def test_a_failure_in_a_stream_is_an_error(client: OpenAI) -> None:
    stream = client.responses.create(**asked(text="a b c", fail_after=2), stream=True)
    seen: list[str] = []
    with pytest.raises(APIError, match="the model failed"):
        seen.extend(event.type for event in stream)
    assert seen[-1] == "response.failed"


def test_input_tokens_are_counted(client: OpenAI) -> None:
    assert client.responses.input_tokens.count(model="echo", input="a b c").input_tokens == 3


def test_responses_outlive_a_restart_in_a_file(echo_triton: EchoTriton, tmp_path: Any) -> None:
    flags = ("--data-directory", str(tmp_path / "data"))
    with (
        run_gateway(echo_triton.grpc_address, tmp_path / "one.log", *flags) as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as sdk,
    ):
        kept = sdk.responses.create(model="echo", input="remember me")
    with (
        run_gateway(echo_triton.grpc_address, tmp_path / "two.log", *flags) as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as sdk,
    ):
        assert sdk.responses.retrieve(kept.id).output_text == "remember me"
