"""Whole answers with every field that the documentation of Ollama 0.6 and of Anthropic's API
(2023-06-01) shows, and what becomes of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from frontend.domain.events import Event
from frontend.errors import GatewayError
from frontend.upstreams.remote import Remote
from tests.frontend.upstreams.test_lies import CALL, TALK, anthropic, ollama, told
from tests.support.events import MODEL

CHAT = """\
{"model":"qwen3","created_at":"2026-08-01T10:00:00.1Z","message":{"role":"assistant","content":"",\
"thinking":"The user greets."},"done":false}
{"model":"qwen3","created_at":"2026-08-01T10:00:00.2Z","message":{"role":"assistant",\
"content":"Hi"},"done":false}
{"model":"qwen3","created_at":"2026-08-01T10:00:00.3Z","message":{"role":"assistant",\
"content":" you \\ud83c\\udf4c"},"done":false}
{"model":"qwen3","created_at":"2026-08-01T10:00:00.4Z","message":{"role":"assistant",\
"content":""},"done_reason":"length","done":true,"total_duration":4883583458,\
"load_duration":1334875,"prompt_eval_count":26,"prompt_eval_duration":342546000,\
"eval_count":282,"eval_duration":4535599000}
"""
CALLS = """\
{"model":"qwen3","created_at":"2026-08-01T10:00:00.1Z","message":{"role":"assistant","content":"",\
"tool_calls":[{"function":{"index":0,"name":"weather","arguments":{"city":"Ulm","days":2}}},\
{"function":{"index":1,"name":"clock","arguments":{}}}]},"done":false}
{"model":"qwen3","created_at":"2026-08-01T10:00:00.4Z","message":{"role":"assistant",\
"content":""},"done_reason":"stop","done":true,"total_duration":1,"load_duration":1,\
"prompt_eval_count":169,"prompt_eval_duration":1,"eval_count":15,"eval_duration":1}
"""
MESSAGE = """\
event: message_start
data: {"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant",\
"model":"claude","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":11,\
"cache_creation_input_tokens":3,"cache_read_input_tokens":20,"output_tokens":1,\
"service_tier":"standard"}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"",\
"signature":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta",\
"thinking":"The city first."}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta",\
"signature":"EqQB"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"I look."}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_01",\
"name":"weather","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta",\
"partial_json":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta",\
"partial_json":"{\\"city\\": \\"U"}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta",\
"partial_json":"lm\\"}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},\
"usage":{"output_tokens":89}}

event: message_stop
data: {"type":"message_stop"}
"""


@asynccontextmanager
async def reading(make: Any, text: str) -> AsyncIterator[list[Event]]:
    """The events of an answer that comes line by line."""
    web = told()
    web.said = [line.encode() for line in text.splitlines() if line]
    upstream: Remote = make(web)
    yield [event async for group in upstream.generate(MODEL, TALK, CALL) for event in group]


def calls_of(events: list[Event]) -> dict[int, tuple[str, str, str]]:
    """Each call with the pieces of its id, name and arguments joined."""
    pieces = [piece for event in events for piece in event.tool_calls or ()]
    joined: dict[int, tuple[str, str, str]] = {}
    for piece in pieces:
        before = joined.get(piece["index"], ("", "", ""))
        new = (piece["id"], piece["name"], piece["arguments"])
        joined[piece["index"]] = tuple(map("".join, zip(before, new, strict=True)))  # type: ignore[assignment]
    return joined


async def test_a_chat_of_ollama() -> None:
    async with reading(ollama, CHAT) as events:
        assert "".join(one.reasoning or "" for one in events) == "The user greets."
        assert "".join(one.text for one in events) == "Hi you 🍌"
        last = events[-1]
        assert (last.finish_reason, last.prompt_tokens, last.completion_tokens) == (
            "length", 26, 282
        )  # fmt: skip
        assert [one.finish_reason for one in events[:-1]] == [None] * 3


async def test_calls_of_ollama() -> None:
    async with reading(ollama, CALLS) as events:
        assert calls_of(events) == {
            0: ("call_0", "weather", '{"city":"Ulm","days":2}'), 1: ("call_1", "clock", "{}")
        }  # fmt: skip
        assert events[-1].finish_reason == "tool_calls"
        assert (events[-1].prompt_tokens, events[-1].completion_tokens) == (169, 15)


async def test_a_message_of_anthropic() -> None:
    async with reading(anthropic, MESSAGE) as events:
        assert "".join(one.reasoning or "" for one in events) == "The city first."
        assert "".join(one.text for one in events) == "I look."
        assert calls_of(events) == {0: ("toolu_01", "weather", '{"city": "Ulm"}')}
        last = events[-1]
        assert (last.finish_reason, last.completion_tokens) == ("tool_calls", 89)
        # what was read from the cache and what was written to it are a part of the prompt
        assert (last.prompt_tokens, last.cached_tokens) == (34, 20)


@pytest.mark.parametrize(
    ("make", "line", "status"),
    [
        (ollama, '{"error":"an error was encountered while running the model"}', 502),
        (
            anthropic,
            'data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
            503,
        ),
    ],
)
async def test_an_error_within_a_stream_is_a_failure(make: Any, line: str, status: int) -> None:
    text = (CHAT if make is ollama else MESSAGE).splitlines()
    with pytest.raises(GatewayError) as failed:
        async with reading(make, "\n".join([*text[:2], line])):
            pass
    assert failed.value.status == status
