"""Chat: nothing of a request is lost, and a stream joins to the unary answer."""

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from frontend.dialects.openai.chat import ChatCall, parse_chat
from frontend.dialects.openai.chat_answers import ChatAnswer, ChatChunks
from frontend.dialects.openai.models import fingerprint
from frontend.domain.models import Details
from frontend.domain.usage import UsageCount
from frontend.upstreams.triton.contract import write_prompt, write_reply, write_sampling
from tests.support.bodies import refused, sse
from tests.support.events import MODEL, event, replies, token

HELLO = {"role": "user", "content": "hello"}


def parse(**fields: Any) -> ChatCall:
    return parse_chat({"model": "m", "messages": [HELLO], **fields}, 10)


def refusal(**fields: Any) -> str | None:
    return refused(parse_chat, {"model": "m", "messages": [HELLO], **fields}, 10).param


def test_messages_reach_the_prompt() -> None:
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "", "refusal": None, "tool_calls": None},
        {"role": "user", "content": "c", "name": "ann"},
    ]
    assert write_prompt(parse(messages=messages).generation)["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "ab"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "c", "name": "ann"},
    ]


def test_options_of_the_chat_template_reach_the_prompt() -> None:
    options = {"chat_template_kwargs": {"enable_thinking": False}, "continue_final_message": True}
    prompt = write_prompt(parse(**options).generation)
    assert {name: prompt[name] for name in options} == options


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (None, "messages"),
        ([], "messages"),
        ("hi", "messages"),
        (["hi"], "messages[0]"),
        ([HELLO] * 11, "messages"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": "boss", "content": "x"}], "messages[0].role"),
        ([HELLO, {"role": "user"}], "messages[1].content"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "assistant"}], "messages[0].content"),
        ([{"role": "assistant", "content": None, "tool_calls": []}], "messages[0].content"),
        ([{"role": "assistant", "content": []}], "messages[0].content"),
        ([{"role": "assistant", "content": "x", "prefix": True}], "messages[0].prefix"),
        ([{"role": "assistant", "audio": {"id": "a"}}], "messages[0].audio"),
        ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id"),
        ([{"role": "tool", "content": "x", "tool_call_id": ""}], "messages[0].tool_call_id"),
        ([{"role": "function", "content": "x"}], "messages[0].name"),
        ([{"role": "user", "content": "x", "tool_call_id": "c"}], "messages[0].tool_call_id"),
        ([{"role": "user", "content": [{"text": "x"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": "x", "colour": 1}], "messages[0].colour"),
        (
            [{"role": "assistant", "tool_calls": [{"id": "1"}]}],
            "messages[0].tool_calls[0].function",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
            "messages[0].content[0].image_url.url",
        ),
        (
            [{"role": "user", "content": [{"type": "text", "text": "x", "y": 1}]}],
            "messages[0].content[0].y",
        ),
    ],
)
def test_messages_that_cannot_be_honoured(messages: Any, param: str) -> None:
    assert refusal(messages=messages) == param


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", None),
        ("model", ""),
        ("model", 5),
        ("stream", "yes"),
        ("functions", [{"name": "f"}]),
        ("tool_choice", "required"),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "x", "format": "wav"}),
        ("prediction", {"type": "content", "content": "x"}),
        ("reasoning_effort", "huge"),
        ("verbosity", "huge"),
        ("web_search_options", {}),
        ("prompt_cache_retention", "24h"),
        ("moderation", {}),
        ("stream_options", {"include_usage": True}),
        ("top_logprobs", 3),
        ("suffix", "x"),
        ("best_of", 2),
    ],
)
def test_parameters_that_cannot_be_honoured(name: str, value: Any) -> None:
    assert refusal(**{name: value}) == name


@given(st.text(min_size=1))
def test_every_unknown_field_is_refused(name: str) -> None:
    body = {"model": "m", "messages": [HELLO], f"x_{name}": 1}
    assert refused(parse_chat, body, 10).code == "unknown_parameter"


@pytest.mark.parametrize("body", [None, [], "x", 5, True])
def test_a_body_that_is_no_object(body: Any) -> None:
    assert "JSON object" in refused(parse_chat, body, 10).message


def test_null_is_absent() -> None:
    assert parse(temperature=None, tools=None, stream=None, stop=None) == parse()


def test_logprobs_are_asked_of_the_engine() -> None:
    assert write_sampling(parse(logprobs=True).generation) == {"logprobs": 0}
    assert write_sampling(parse(logprobs=True, top_logprobs=5).generation) == {"logprobs": 5}
    assert write_sampling(parse(logprobs=False).generation) == {}


def test_parameters_that_say_nothing_here_are_taken() -> None:
    parse(tools=[], tool_choice="none", parallel_tool_calls=True, modalities=["text"], store=False)
    parse(user="u", metadata={"a": "b"}, service_tier="auto", safety_identifier="s")


def both_ways(body: dict[str, Any], events: list[Any]) -> tuple[dict[str, Any], list[Any]]:
    """The unary answer and the chunks for the same events."""
    call = parse_chat({"model": "m", "messages": [HELLO], **body}, 10)
    answer, chunks, count = ChatAnswer(call, "1", "m"), ChatChunks(call, "1", "m"), UsageCount()
    streamed = [chunks.first()]
    for one in events:
        count.see(0, one)
        answer.add(one)
        streamed.append(chunks.chunk(one))
    streamed.append(chunks.last(count.total if call.stream_options.usage else None))
    return orjson.loads(answer.render(count.total)), sse(b"".join(streamed))


@given(st.data(), st.integers(1, 3), st.booleans())
def test_a_stream_joins_to_the_unary_answer(data: st.DataObject, n: int, logprobs: bool) -> None:
    body: dict[str, Any] = {"n": n, "stream": True, "stream_options": {"include_usage": True}}
    if logprobs:
        body |= {"logprobs": True, "top_logprobs": 2}
    events = data.draw(replies(n))
    if not logprobs:
        for one in events:
            one.logprobs = None
    unary, chunks = both_ways(body, events)
    ChatCompletion.model_validate(unary)
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    *deltas, last = chunks
    assert last["choices"] == []
    assert last["usage"] == unary["usage"]
    for choice in unary["choices"]:
        mine = [c["choices"][0] for c in deltas if c["choices"][0]["index"] == choice["index"]]
        joined = "".join(one["delta"].get("content") or "" for one in mine)
        assert joined == choice["message"]["content"]
        assert mine[0]["delta"]["role"] == "assistant"
        assert [o["finish_reason"] for o in mine][-1] == choice["finish_reason"]
        assert all(o["finish_reason"] is None for o in mine[:-1])
        tokens = [t for o in mine if o["logprobs"] for t in o["logprobs"]["content"]]
        assert tokens == (choice["logprobs"]["content"] if logprobs else [])


def test_the_first_chunk_has_the_role_and_all_share_an_id() -> None:
    _, chunks = both_ways({"stream": True}, [event("a"), event(finish="stop")])
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert {chunk["id"] for chunk in chunks} == {"chatcmpl-1"}
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}


def test_usage_is_in_no_chunk_unless_asked_for() -> None:
    call = parse(stream=True)
    chunks = ChatChunks(call, "1", "m")
    assert all("usage" not in c for c in sse(chunks.first() + chunks.last(None)))


def test_logprobs_have_the_bytes_of_each_token() -> None:
    half = token("\ufffd") | {"bytes": [0xF0, 0x9F]}
    unary, _ = both_ways(
        {"logprobs": True, "top_logprobs": 1}, [event("", finish="stop", logprobs=[half])]
    )
    (shown,) = unary["choices"][0]["logprobs"]["content"]
    assert shown["bytes"] == [0xF0, 0x9F]
    assert "id" not in shown


def test_images_stand_where_they_stood_and_their_links_beside() -> None:
    def image(url: str, **more: str) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": url, **more}}

    parts = [
        image("https://a.example/x"),
        {"type": "text", "text": "?"},
        image("data:y", detail="low"),
    ]
    call = parse(messages=[HELLO, {"role": "user", "content": parts}])
    assert write_prompt(call.generation)["messages"][1]["content"] == [
        {"type": "image"},
        {"type": "text", "text": "?"},
        {"type": "image"},
    ]
    assert [(link.url, link.path) for link in call.images] == [
        ("https://a.example/x", "messages[1].content[0].image_url.url"),
        ("data:y", "messages[1].content[2].image_url.url"),
    ]


@pytest.mark.parametrize("url", ["http://a.example/", "file:///x", "ftp://a", "x", "", None, 5])
def test_links_of_other_kinds(url: Any) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    path = "messages[0].content[0].image_url.url"
    assert refusal(messages=[{"role": "user", "content": [part]}]) == path


def test_verbosity_reaches_templates_that_know_it() -> None:
    generation = parse(verbosity="low").generation
    assert write_prompt(generation)["chat_template_kwargs"] == {"verbosity": "low"}
    assert "chat_template_kwargs" not in write_prompt(parse(verbosity="medium").generation)


def test_a_stream_tells_its_usage_so_far() -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    events = [event("a", completion_tokens=1), event("b", finish="stop", completion_tokens=2)]
    _, chunks = both_ways({"stream": True, "stream_options": options}, events)
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks[1:]] == [1, 2, 2, 2]
    assert chunks[1]["usage"]["prompt_tokens"] == 3
    _, chunks = both_ways(
        {"stream": True, "stream_options": {"continuous_usage_stats": True}}, events
    )
    assert not any("usage" in chunk for chunk in chunks)


def test_token_ids_come_beside_the_text_when_they_are_asked_for() -> None:
    events = [
        event("", token_ids=[5], prompt_token_ids=[1, 2, 3]),
        event("é", token_ids=[6, 7]),
        event("", finish="stop", token_ids=[8]),
    ]
    assert write_reply(parse(return_token_ids=True).generation) == {"prompt_token_ids": True}
    unary, chunks = both_ways({"stream": True, "return_token_ids": True}, events)
    assert unary["prompt_token_ids"] == [1, 2, 3]
    assert unary["choices"][0]["token_ids"] == [5, 6, 7, 8]
    assert chunks[1]["prompt_token_ids"] == [1, 2, 3]
    told = [chunk["choices"][0].get("token_ids") or [] for chunk in chunks]
    assert [one for ids in told for one in ids] == [5, 6, 7, 8]
    unary, chunks = both_ways({"stream": True}, events)
    assert not any("token_ids" in str(one) for one in (unary, *chunks))


def test_answers_say_what_made_them() -> None:
    call = parse()
    whole = orjson.loads(ChatAnswer(call, "1", "m", "fp_1").render(UsageCount().total))
    assert whole["system_fingerprint"] == "fp_1"
    (chunk,) = sse(ChatChunks(call, "1", "m", "fp_1").first() + b"data: [DONE]\n\n")
    assert chunk["system_fingerprint"] == "fp_1"
    assert fingerprint(MODEL) == fingerprint(replace(MODEL))
    assert fingerprint(MODEL) != fingerprint(replace(MODEL, details=Details(digest="1")))


@pytest.mark.parametrize("seed", [2**63, 2**64, -(2**64), 1e30])
def test_a_seed_beyond_64_bits_is_refused_in_plain_words(seed: float) -> None:
    sent = orjson.loads(json.dumps({"model": "m", "messages": [HELLO], "seed": seed}))
    error = refused(parse_chat, sent, 10)
    assert error.param == "seed"
    assert "between -9223372036854775808 and 9223372036854775807" in error.message
    assert "e+" not in error.message
