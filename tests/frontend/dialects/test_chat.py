"""Chat requests become what the engine knows; events become OpenAI's answers and chunks."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from frontend.dialects.openai.chat import ChatAnswer, ChatChunks, parse_chat
from frontend.domain import Event, UsageCount
from frontend.errors import InvalidRequest

BASE: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def parse(**more: Any) -> Any:
    return parse_chat({**BASE, **more}, max_messages=8)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("temperature", 0.5, {"temperature": 0.5}),
        ("top_p", 0.9, {"top_p": 0.9}),
        ("n", 3, {"n": 3}),
        ("seed", 7, {"seed": 7}),
        ("stop", "x", {"stop": ["x"]}),
        ("stop", ["x", "y"], {"stop": ["x", "y"]}),
        ("presence_penalty", -2, {"presence_penalty": -2}),
        ("frequency_penalty", 2, {"frequency_penalty": 2}),
        ("logit_bias", {"5": -100}, {"logit_bias": {"5": -100}}),
        ("max_tokens", 5, {"max_tokens": 5}),
        ("max_completion_tokens", 5, {"max_tokens": 5}),
        ("top_k", 10, {"top_k": 10}),
        ("min_p", 0.1, {"min_p": 0.1}),
        ("repetition_penalty", 1.1, {"repetition_penalty": 1.1}),
        ("min_tokens", 2, {"min_tokens": 2}),
        ("ignore_eos", True, {"ignore_eos": True}),
        ("stop_token_ids", [1], {"stop_token_ids": [1]}),
        ("guided_regex", "a+", {"structured_outputs": {"regex": "a+"}}),
        ("response_format", {"type": "json_object"}, {"structured_outputs": {"json_object": True}}),
        ("response_format", {"type": "text"}, {}),
        ("logprobs", True, {"logprobs": 0}),
    ],
)
def test_each_field_reaches_the_engine(field: str, value: Any, expected: dict[str, Any]) -> None:
    assert parse(**{field: value}).generation.sampling == expected


def test_a_json_schema_is_the_engines_constraint() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    assert parse(response_format=wanted).generation.sampling == {
        "structured_outputs": {"json": schema}
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", "hot"),
        ("temperature", True),
        ("top_p", 0),
        ("top_p", 1.1),
        ("n", 0),
        ("n", 129),
        ("n", 1.5),
        ("stop", ["a"] * 5),
        ("stop", [1]),
        ("logit_bias", {"x": 1}),
        ("logit_bias", {"1": 101}),
        ("max_tokens", 0),
        ("top_logprobs", 2),
        ("tools", [{"type": "function"}]),
        ("modalities", ["audio"]),
        ("service_tier", "priority"),
        ("store", True),
        ("stream", "yes"),
        ("stream_options", {"include_usage": True}),
        ("response_format", {"type": "yaml"}),
        ("messages", []),
        ("messages", "hi"),
        ("messages", [{"role": "user", "content": "x"}] * 9),
        ("model", ""),
        ("model", 5),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse(**{field: value})
    assert (refusal.value.param or "").split(".")[0].split("[")[0] == field


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "robot", "content": "x"}, "messages[0].role"),
        ({"content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": "x", "mood": "good"}, "messages[0].mood"),
        ("hi", "messages[0]"),
    ],
)
def test_a_bad_message_is_refused_by_its_path(message: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse(messages=[message])
    assert refusal.value.param == param


def test_text_parts_are_joined_and_developers_are_system() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    call = parse(messages=[{"role": "developer", "content": parts}])
    assert call.generation.prompt == {"messages": [{"role": "system", "content": "ab"}]}


@given(st.text().map("x-".__add__), st.sampled_from([None, 1, "text", []]))
def test_no_unknown_field_passes(name: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse(**{name: value})
    assert refusal.value.code == "unknown_parameter"
    assert name.startswith(refusal.value.param or "nothing")


def test_null_is_absent() -> None:
    assert parse(temperature=None, tools=None, stream=None) == parse()


pieces = st.lists(st.text(max_size=8), min_size=1, max_size=6)


@given(st.lists(pieces, min_size=1, max_size=3), st.sampled_from(["stop", "length"]), st.data())
def test_joined_chunks_equal_the_unary_answer(
    texts: list[list[str]], reason: str, data: st.DataObject
) -> None:
    call = parse(n=len(texts), stream=True, stream_options={"include_usage": True})
    events = _interleaved(texts, reason, data)
    answer, chunks, count = (
        ChatAnswer.of(call, "id", "m"),
        ChatChunks(call, "id", "m"),
        UsageCount(),
    )
    stream = chunks.first()
    for event in events:
        count.see(0, event)
        answer.add(event)
        stream += chunks.chunk(event)
    stream += chunks.last(count.total)
    unary = ChatCompletion.model_validate_json(answer.render(count.total))
    parsed = _parse_stream(stream)
    for choice in unary.choices:
        deltas = [c.choices[0] for c in parsed if c.choices and c.choices[0].index == choice.index]
        assert "".join(d.delta.content or "" for d in deltas) == choice.message.content
        assert [d.finish_reason for d in deltas if d.finish_reason] == [choice.finish_reason]
        assert deltas[0].delta.role == "assistant"
    assert parsed[-1].usage == unary.usage
    assert unary.usage is not None
    assert unary.usage.completion_tokens == sum(map(len, texts))


def _interleaved(texts: list[list[str]], reason: str, data: st.DataObject) -> list[Event]:
    left = {index: list(enumerate(parts, 1)) for index, parts in enumerate(texts)}
    events = []
    while left:
        index = data.draw(st.sampled_from(sorted(left)))
        number, text = left[index].pop(0)
        last = not left[index]
        if last:
            del left[index]
        events.append(Event(index, text, [1], reason if last else None, None, 3, 0, number))
    return events


def _parse_stream(stream: bytes) -> list[ChatCompletionChunk]:
    lines = stream.decode().split("\n\n")
    assert lines[-1] == ""
    assert lines[-2] == "data: [DONE]"
    return [ChatCompletionChunk.model_validate(json.loads(line[6:])) for line in lines[:-2]]


def test_logprobs_keep_the_bytes_of_half_a_character() -> None:
    call = parse(logprobs=True, top_logprobs=1, stream=True)
    half = {"token": "\ufffd", "id": 9, "bytes": [0xE2, 0x82], "logprob": -1.5}
    event = Event(0, "", [9], None, None, 1, 0, 1, logprobs=[{**half, "top": [half]}])
    chunk = json.loads(ChatChunks(call, "id", "m").chunk(event)[6:])
    (token,) = chunk["choices"][0]["logprobs"]["content"]
    assert token["bytes"] == [0xE2, 0x82]
    assert token["top_logprobs"] == [{"token": "\ufffd", "logprob": -1.5, "bytes": [0xE2, 0x82]}]
