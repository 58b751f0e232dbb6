"""The Responses dialect: items become messages, refusals name a field, streams are the whole."""

from typing import Any

import orjson
import pytest
from hypothesis import given

from frontend.dialects.openai.response_answers import ResponseWriter
from frontend.dialects.openai.responses import ResponseCall, parse_response
from frontend.domain.events import Event
from frontend.domain.usage import Usage
from frontend.errors import BackendFailed
from frontend.upstreams.triton.contract import write_prompt, write_reply, write_sampling
from tests.frontend.dialects.test_anthropic import replies
from tests.support.bodies import refused
from tests.support.events import event, token

TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}


def parse(history: list[dict[str, Any]] | None = None, **fields: Any) -> ResponseCall:
    body = {"model": "m", "input": "hi", **fields}
    return parse_response(body, 20).resolved(history or [])


def test_parameters_reach_the_engine() -> None:
    call = parse(
        temperature=0.5, top_p=0.9, max_output_tokens=7, top_logprobs=2, seed=3, instructions="be"
    )
    wanted = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "logprobs": 2, "seed": 3}
    assert write_sampling(call.generation) == wanted
    assert write_prompt(call.generation)["messages"] == [
        {"role": "system", "content": "be"},
        {"role": "user", "content": "hi"},
    ]
    assert (call.store, call.stream, call.logprobs) == (True, False, True)


def test_the_items_of_a_turn_are_one_message() -> None:
    call = parse(
        history=[{"role": "user", "content": "a"}],
        input=[
            {"type": "reasoning", "id": "r", "summary": [],
             "content": [{"type": "reasoning_text", "text": "hm"}]},
            {"type": "message", "role": "assistant", "id": "m", "status": "completed",
             "content": [{"type": "output_text", "text": "let me", "annotations": []}]},
            {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
            {"type": "function_call", "call_id": "d", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "sea"},
            {"type": "function_call_output", "call_id": "d",
             "output": [{"type": "input_text", "text": "sky"}]},
            {"role": "user", "content": [{"type": "input_text", "text": "so"}, PICTURE]},
        ],
    )  # fmt: skip
    first, turn, sea, sky, user = write_prompt(call.generation)["messages"]
    assert first == {"role": "user", "content": "a"}
    assert (turn["content"], turn["reasoning_content"]) == ("let me", "hm")
    assert [one["id"] for one in turn["tool_calls"]] == ["c", "d"]
    assert sea == {"role": "tool", "tool_call_id": "c", "content": "sea"}
    assert sky["content"] == "sky"
    assert user["content"] == [{"type": "text", "text": "so"}, {"type": "image"}]
    assert [link.path for link in call.images] == ["input[6].content[1].image_url"]


def test_reasoning_items_in_a_row_are_joined() -> None:
    def thought(text: str) -> dict[str, Any]:
        content = [{"type": "reasoning_text", "text": text}]
        return {"type": "reasoning", "id": "r", "summary": [], "content": content}

    call = parse(
        input=[
            {"role": "user", "content": "a"},
            thought("first"),
            {"type": "reasoning", "id": "r", "summary": []},
            thought("second"),
            {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
            thought("third"),
        ]
    )
    _, turn, after = write_prompt(call.generation)["messages"]
    assert turn["reasoning_content"] == "first\n\nsecond"
    assert [one["id"] for one in turn["tool_calls"]] == ["c"]
    assert after["reasoning_content"] == "third"


def test_tools_are_chosen() -> None:
    other = {**TOOL, "name": "hear"}
    forced = parse(tools=[TOOL, other], tool_choice={"type": "function", "name": "hear"})
    assert write_reply(forced.generation) is not None
    assert write_reply(forced.generation)["tool_choice"] == {"name": "hear"}
    some = {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "look"}],
    }
    allowed = parse(tools=[TOOL, other], tool_choice=some)
    assert write_reply(allowed.generation) is not None
    assert [one["function"]["name"] for one in write_reply(allowed.generation)["tools"]] == ["look"]
    assert write_reply(allowed.generation)["tool_choice"] == "required"


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("model", {"model": None}),
        ("input", {"input": None}),
        ("input", {"input": 5}),
        ("input", {"input": ["x"] * 21}),
        ("input[0]", {"input": ["x"]}),
        ("input[0].type", {"input": [{"type": "computer_call"}]}),
        ("input[0].role", {"input": [{"content": "x"}]}),
        ("input[0].content", {"input": [{"role": "user"}]}),
        ("input[0].content[0].type", {"input": [{"role": "user", "content": [
            {"type": "input_file", "file_id": "f"}]}]}),
        ("input[0].content[0].file_id", {"input": [{"role": "user", "content": [
            {"type": "input_image", "file_id": "f"}]}]}),
        ("input[0].content[0].image_url", {"input": [{"role": "user", "content": [
            {"type": "input_image", "image_url": "file:///etc/passwd"}]}]}),
        ("input[0].call_id", {"input": [{"type": "function_call_output", "output": "x"}]}),
        ("input[0].colour", {"input": [{"role": "user", "content": "x", "colour": 1}]}),
        ("max_output_tokens", {"max_output_tokens": 0}),
        ("include", {"include": ["file_search_call.results"]}),
        ("tools[0].type", {"tools": [{"type": "web_search"}]}),
        ("tools[0].name", {"tools": [{"type": "function", "name": "?"}]}),
        ("tools[1].name", {"tools": [TOOL, TOOL]}),
        ("tool_choice", {"tool_choice": "required"}),
        ("tool_choice.name", {"tools": [TOOL], "tool_choice": {"type": "function", "name": "x"}}),
        ("text.format.schema", {"text": {"format": {"type": "json_schema", "name": "x"}}}),
        ("text.verbosity", {"text": {"verbosity": "huge"}}),
        ("reasoning.effort", {"reasoning": {"effort": "huge"}}),
        ("truncation", {"truncation": "auto"}),
        ("background", {"background": True}),
        ("conversation", {"conversation": "c"}),
        ("prompt", {"prompt": {"id": "p"}}),
        ("metadata", {"metadata": {"a": 1}}),
        ("n", {"n": 2}),
        ("colour", {"colour": "red"}),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_named(param: str, fields: dict[str, Any]) -> None:
    assert refused(lambda: parse(**fields)).param == param


def read(raw: bytes) -> list[dict[str, Any]]:
    """The events of a stream, whose numbers must follow each other."""
    told = []
    for block in raw.decode().strip().split("\n\n"):
        name, data = (line.partition(": ")[2] for line in block.split("\n"))
        told.append(orjson.loads(data))
        assert told[-1]["type"] == name
    assert [one["sequence_number"] for one in told] == list(range(len(told)))
    return told


def joined(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items that a client makes of the deltas, each opened and closed in its turn."""
    items: list[dict[str, Any]] = []
    texts: dict[int, str] = {}
    opened: int | None = None
    for one in events:
        kind, index = one["type"].removeprefix("response."), one.get("output_index")
        if kind == "output_item.added":
            assert (opened, index) == (None, len(items))
            opened = index
            items.append(one["item"])
        elif kind.endswith(".delta"):
            assert index == opened
            texts[index] = texts.get(index, "") + one["delta"]
        elif kind in ("output_text.done", "reasoning_text.done"):
            assert one["text"] == texts.get(index, "")
        elif kind == "function_call_arguments.done":
            assert one["arguments"] == texts.get(index, "")
        elif kind == "output_item.done":
            assert index == opened
            items[opened] = one["item"]
            opened = None
    assert opened is None
    return items


@given(replies())
def test_a_stream_is_the_whole_response(events: list[Event]) -> None:
    writer = ResponseWriter(parse(tools=[TOOL]), "1", "m")
    raw = writer.first() + b"".join([writer.chunk(one) for one in events])
    told = read(raw + writer.last(Usage(3, 1, 7, 2)))
    assert [one["type"] for one in told[:2]] == ["response.created", "response.in_progress"]
    assert told[-1]["type"] == "response.completed"
    assert told[-1]["response"] == writer.response(Usage(3, 1, 7, 2))
    assert joined(told) == told[-1]["response"]["output"]
    assert told[-1]["response"]["usage"]["total_tokens"] == 10


def test_a_cut_answer_is_incomplete() -> None:
    writer = ResponseWriter(parse(max_output_tokens=2), "1", "m")
    raw = writer.first() + writer.chunk(event("one")) + writer.chunk(event(finish="length"))
    told = read(raw + writer.last(Usage(3, 0, 2)))[-1]
    assert told["type"] == "response.incomplete"
    assert told["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert told["response"]["output"][0]["status"] == "incomplete"


def test_logprobs_come_when_they_are_asked_for() -> None:
    asked = parse(include=["message.output_text.logprobs"])
    for call, count in ((asked, 1), (parse(), 0)):
        writer = ResponseWriter(call, "1", "m")
        writer.chunk(event("one", finish="stop", logprobs=[token("one")]))
        writer.last(Usage())
        (part,) = writer.response(Usage())["output"][0]["content"]
        assert len(part["logprobs"]) == count


def test_a_failure_is_told_in_full() -> None:
    writer = ResponseWriter(parse(), "1", "m")
    raw = writer.first() + writer.chunk(event("one"))
    failed, error = read(raw + writer.failed(BackendFailed("it broke")))[-2:]
    assert failed["type"] == "response.failed"
    assert failed["response"]["error"]["message"] == "it broke"
    assert (error["type"], error["message"], error["error"]["message"]) == (
        "error",
        "it broke",
        "it broke",
    )
