"""Anthropic's dialect: nothing dropped, refusals name their field, streams join to the whole."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.dialects.anthropic.answers import MessageAnswer, MessageStream, render_count
from frontend.dialects.anthropic.failures import render_error, status_of
from frontend.dialects.anthropic.requests import MessagesCall, check_abilities, parse_messages
from frontend.domain.events import Event
from frontend.domain.usage import Usage
from frontend.errors import InvalidRequest, NotFound, Overloaded, RateLimited
from frontend.upstreams.triton.contract import write_prompt, write_reply, write_sampling
from tests.support.bodies import refused
from tests.support.events import MODEL, event

PIXEL = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {"at": {}}}}


def body(**fields: Any) -> dict[str, Any]:
    given = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    return given | fields


def parse(**fields: Any) -> MessagesCall:
    return parse_messages(body(**fields), 10)


def said(*content: Any, role: str = "user") -> list[dict[str, Any]]:
    return [{"role": role, "content": list(content)}]


def test_parameters_reach_the_engine() -> None:
    call = parse(
        temperature=0.5, top_p=0.9, top_k=5, stop_sequences=["END"], system="be brief", stream=True
    )
    assert write_sampling(call.generation) == {
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "stop": ["END"],
    }
    assert write_prompt(call.generation)["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"},
    ]
    assert call.stream


def test_no_probability_leaves_the_likeliest_token() -> None:
    sampling = parse(top_p=0, top_k=5).generation.sampling
    assert (sampling.top_p, sampling.top_k) == (None, 1)


def test_a_conversation_with_tools_and_thoughts() -> None:
    call = parse(
        tools=[{**TOOL, "description": "d", "cache_control": {"type": "ephemeral"}}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        messages=[
            {"role": "user", "content": "where"},
            *said(
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "let me see"},
                {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": 1}},
                role="assistant",
            ),
            *said(
                {"type": "tool_result", "tool_use_id": "c1", "content": "gone", "is_error": True},
                {"type": "tool_result", "tool_use_id": "c2", "content": [PIXEL]},
                {"type": "text", "text": "so?"},
            ),
        ],
    )
    _, assistant, failed, seen, user = write_prompt(call.generation)["messages"]
    assert assistant["content"] == "let me see"
    assert assistant["reasoning_content"] == "hm"
    (made,) = assistant["tool_calls"]
    assert made["function"] == {"name": "look", "arguments": '{"at":1}'}
    assert failed == {"role": "tool", "tool_call_id": "c1", "content": "Error: gone"}
    assert seen == {"role": "tool", "tool_call_id": "c2", "content": ""}
    assert user["content"] == [{"type": "image"}, {"type": "text", "text": "so?"}]
    assert [link.url for link in call.images] == ["data:image/png;base64,AAAA"]
    assert write_reply(call.generation) is not None
    assert write_reply(call.generation)["tool_choice"] == "required"
    assert write_reply(call.generation)["parallel_tool_calls"] is False


def test_the_assistant_is_continued() -> None:
    call = parse(messages=[*said({"type": "text", "text": "a"}), *said(role="assistant")])
    assert write_prompt(call.generation)["continue_final_message"] is True
    assert write_prompt(call.generation)["add_generation_prompt"] is False


def test_thinking_needs_a_model_that_thinks() -> None:
    call = parse(thinking={"type": "enabled", "budget_tokens": 5})
    assert write_prompt(call.generation)["chat_template_kwargs"] == {"enable_thinking": True}
    assert write_sampling(call.generation)["thinking_token_budget"] == 5
    assert refused(check_abilities, call, MODEL).param == "thinking"
    check_abilities(call, replace(MODEL, capabilities=frozenset({"chat", "reasoning"})))
    check_abilities(parse(thinking={"type": "adaptive"}), MODEL)


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("model", {"model": None}),
        ("max_tokens", {"max_tokens": None}),
        ("max_tokens", {"max_tokens": 0}),
        ("temperature", {"temperature": 1.5}),
        ("messages", {"messages": []}),
        ("messages", {"messages": [{"role": "user", "content": "x"}] * 11}),
        ("messages[0].role", {"messages": [{"role": "tool", "content": "x"}]}),
        ("messages[0].content", {"messages": [{"role": "user"}]}),
        ("messages[0].content[0].type", {"messages": said({"type": "video"})}),
        ("messages[0].content[0].text", {"messages": said({"type": "text"})}),
        ("messages[0].content[0].source.url", {"messages": said(
            {"type": "image", "source": {"type": "url", "url": "file:///etc/passwd"}})}),
        ("messages[0].content[0].source.data", {"messages": said(
            {"type": "image", "source": {**PIXEL["source"], "data": "?"}})}),  # type: ignore[dict-item]
        ("messages[0].content[0].source.type", {"messages": said(
            {"type": "document", "source": {"type": "base64", "data": "AAAA"}})}),
        ("messages[0].content[0].type", {"messages": said(
            {"type": "tool_use", "id": "1", "name": "x", "input": {}})}),
        ("messages[0].content[0].tool_use_id", {"messages": said({"type": "tool_result"})}),
        ("system[0].type", {"system": [PIXEL]}),
        ("tools[0].type", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        ("tools[0].input_schema", {"tools": [{"name": "a"}]}),
        ("tools[1].name", {"tools": [TOOL, TOOL]}),
        ("tool_choice", {"tool_choice": {"type": "any"}}),
        ("tool_choice.name", {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "b"}}),
        ("thinking.budget_tokens", {"thinking": {"type": "enabled"}}),
        ("thinking.budget_tokens", {"thinking": {"type": "enabled", "budget_tokens": 9}}),
        ("output_config.format.schema", {"output_config": {"format": {"type": "json_schema"}}}),
        ("stop_sequences", {"stop_sequences": [" "]}),
        ("container", {"container": "c"}),
        ("mcp_servers", {"mcp_servers": [{"url": "https://x"}]}),
        ("speed", {"speed": "fast"}),
        ("colour", {"colour": "red"}),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_named(param: str, fields: dict[str, Any]) -> None:
    assert refused(parse_messages, body(**fields), 10).param == param


def test_errors_have_anthropics_types() -> None:
    for error, status, kind in (
        (InvalidRequest("x"), 400, "invalid_request_error"),
        (NotFound("x"), 404, "not_found_error"),
        (RateLimited("x"), 429, "rate_limit_error"),
        (Overloaded("x"), 529, "overloaded_error"),
    ):
        told = orjson.loads(render_error(error, "r1"))
        assert status_of(error) == status
        assert told == {
            "type": "error",
            "error": {"type": kind, "message": told["error"]["message"]},
            "request_id": "r1",
        }


@pytest.mark.parametrize(
    ("last", "reason", "sequence"),
    [
        (event(finish="stop"), "end_turn", None),
        (event(finish="stop", stop_reason="END"), "stop_sequence", "END"),
        (event(finish="stop", stop_reason=2), "end_turn", None),
        (event(finish="length", completion_tokens=9), "max_tokens", None),
        (event(finish="length", completion_tokens=5), "model_context_window_exceeded", None),
        # fewer than asked for, and the context is not full: a budget has ended it
        (event(finish="length", completion_tokens=4), "max_tokens", None),
        (event(finish="abort", completion_tokens=5), "max_tokens", None),
    ],
)
def test_why_it_ended(last: Event, reason: str, sequence: str | None) -> None:
    answer = MessageAnswer(parse(stop_sequences=["END"]), "1", replace(MODEL, context_length=8))
    answer.add(last)
    told = orjson.loads(answer.render(Usage(3, 1, last.completion_tokens)))
    assert (told["stop_reason"], told["stop_sequence"]) == (reason, sequence)
    assert told["usage"]["input_tokens"] == 2
    assert told["usage"]["cache_read_input_tokens"] == 1


@st.composite
def replies(draw: st.DrawFn) -> list[Event]:
    """Reasoning, then text, then calls in pieces; any of them may be missing."""
    words = st.lists(st.text(min_size=1, max_size=5), max_size=4)
    found = [event(reasoning=thought) for thought in draw(words)]
    found += [event(text) for text in draw(words)]
    for number in range(draw(st.integers(0, 2))):
        first = {"index": number, "id": f"c{number}", "name": "look", "arguments": ""}
        pieces = [first, *({"index": number, "arguments": one} for one in ('{"at":', "1}"))]
        found += [event(tool_calls=[piece]) for piece in pieces]
    called = any(one.tool_calls for one in found)
    return [*found, event(finish="tool_calls" if called else "stop")]


def joined(raw: bytes) -> dict[str, Any]:
    """The message that a client makes of a stream, which must keep the order of its events."""
    message: dict[str, Any] = {}
    partial: dict[int, str] = {}
    opened: int | None = None
    for block in raw.decode().strip().split("\n\n"):
        name, data = (line.partition(": ")[2] for line in block.split("\n"))
        told = orjson.loads(data)
        assert told["type"] == name
        if name == "message_start":
            message = told["message"]
        elif name == "content_block_start":
            assert opened is None
            assert told["index"] == len(message["content"])
            opened = told["index"]
            message["content"].append(told["content_block"])
        elif name == "content_block_delta":
            assert told["index"] == opened
            (kind,) = {"text", "thinking", "partial_json"} & set(told["delta"])
            if kind == "partial_json":
                partial[told["index"]] = partial.get(told["index"], "") + told["delta"][kind]
            else:
                message["content"][told["index"]][kind] += told["delta"][kind]
        elif name == "content_block_stop":
            assert told["index"] == opened
            opened = None
        elif name == "message_delta":
            assert opened is None
            message |= told["delta"] | {"usage": told["usage"]}
    for index, text in partial.items():
        message["content"][index]["input"] = orjson.loads(text)
    assert name == "message_stop"
    return message


@given(replies())
def test_a_joined_stream_is_the_whole_message(events: list[Event]) -> None:
    call = parse(tools=[TOOL])
    answer, stream = MessageAnswer(call, "1", MODEL), MessageStream(call, "1", MODEL)
    raw = stream.first(Usage(3)) + b"".join([stream.chunk(one) for one in events])
    for one in events:
        answer.add(one)
    usage = Usage(3, 0, 7)
    assert joined(raw + stream.last(usage)) == orjson.loads(answer.render(usage))


EDITS = {"edits": [{"type": "clear_tool_uses_20250919", "keep": {"type": "tool_uses", "value": 3}}]}


def test_edits_of_the_context_are_taken_and_said_not_to_be_made() -> None:
    call = parse(context_management=EDITS)
    answer = MessageAnswer(call, "1", MODEL)
    answer.add(event("a", finish="stop"))
    told = orjson.loads(answer.render(Usage(3, 0, 1)))
    assert told["context_management"] == {"applied_edits": []}
    stream = MessageStream(call, "1", MODEL)
    stream.chunk(event("a", finish="stop"))
    assert b'"context_management":{"applied_edits":[]}' in stream.last(Usage(3, 0, 1))
    counted = orjson.loads(render_count(call, 7))
    assert counted == {"input_tokens": 7, "context_management": {"original_input_tokens": 7}}
    assert orjson.loads(render_count(parse(), 7)) == {"input_tokens": 7}
    for bad in ({"edits": {}}, {"edits": [{}]}, {"edits": [5]}, {"colour": 1}):
        error = refused(parse_messages, body(context_management=bad), 10)
        assert str(error.param).startswith("context_management.")
