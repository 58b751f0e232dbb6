"""The recorded requests, and how each dialect reads one and renders its events."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from frontend.dialects.anthropic.answers import MessageAnswer, MessageStream
from frontend.dialects.anthropic.requests import parse_messages
from frontend.dialects.openai.chat import parse_chat
from frontend.dialects.openai.chat_answers import ChatAnswer, ChatChunks
from frontend.dialects.openai.completion_answers import CompletionAnswer, CompletionChunks
from frontend.dialects.openai.completions import parse_completion
from frontend.dialects.openai.response_answers import ResponseWriter
from frontend.dialects.openai.responses import parse_response
from frontend.domain.events import Event
from frontend.domain.generation import Generation
from frontend.domain.usage import UsageCount
from tests.support import events

FOLDER = Path(__file__).parent / "transcripts"
MODEL = "smollm2-135m-instruct"
_SERVED = replace(events.MODEL, name=MODEL, context_length=2048)
_CITY = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Bergen"]}}}
_CITY |= {"required": ["city"], "additionalProperties": False}
_FUNCTION = {"name": "weather", "description": "The weather.", "parameters": _CITY}
_TALK = [{"role": "user", "content": "What is the capital of France?"}]
_ASK = [{"role": "user", "content": "How is the weather in Bergen?"}]
_FRUITS = [{"role": "user", "content": "Draw an emoji 🍌 of a fruit and say its name in Chinese."}]
_GREEDY: dict[str, Any] = {"model": MODEL, "temperature": 0}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("chat", {**_GREEDY, "messages": _TALK, "max_tokens": 32}),
    "chat_choices": (
        "chat",
        {"model": MODEL, "messages": _TALK, "n": 2, "seed": 3, "max_tokens": 8},
    ),
    "chat_logprobs": (
        "chat",
        {**_GREEDY, "messages": _FRUITS, "max_tokens": 16, "logprobs": True, "top_logprobs": 2},
    ),
    "chat_stop": ("chat", {**_GREEDY, "messages": _TALK, "max_tokens": 32, "stop": ["France"]}),
    "chat_tool": (
        "chat",
        {
            **_GREEDY,
            "messages": _ASK,
            "max_tokens": 48,
            "tools": [{"type": "function", "function": _FUNCTION}],
            "tool_choice": "required",
        },
    ),
    "chat_schema": (
        "chat",
        {
            **_GREEDY,
            "messages": _ASK,
            "max_tokens": 48,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "c", "schema": _CITY},
            },
        },
    ),
    "completion_echo": (
        "completion",
        {**_GREEDY, "prompt": "Zürich ist", "max_tokens": 6, "echo": True, "logprobs": 2},
    ),
    "messages": ("messages", {**_GREEDY, "messages": _TALK, "max_tokens": 32}),
    "messages_tool": (
        "messages",
        {
            **_GREEDY,
            "messages": _ASK,
            "max_tokens": 48,
            "tools": [{"name": "weather", "input_schema": _CITY}],
            "tool_choice": {"type": "tool", "name": "weather"},
        },
    ),
    "response": ("response", {**_GREEDY, "input": "What is the capital of France?"}),
    "response_tool": (
        "response",
        {
            **_GREEDY,
            "input": "How is the weather in Bergen?",
            "max_output_tokens": 48,
            "tools": [{"type": "function", **_FUNCTION}],
            "tool_choice": "required",
        },
    ),
}

Groups = list[list[Event]]


@dataclass(frozen=True, slots=True)
class Reading:
    """A request as a dialect reads it; both renderings of its events, times left out."""

    generation: Generation
    whole: Callable[[Groups], str]
    stream: Callable[[Groups], str]


def read(dialect: str, request: dict[str, Any]) -> Reading:
    """One request of one dialect."""
    return _DIALECTS[dialect](request)


def _count(groups: Groups) -> UsageCount:
    count = UsageCount()
    for group in groups:
        for event in group:
            count.see(0, event)
    return count


def _plain(raw: bytes) -> str:
    """Without the seconds at which it was made."""
    return re.sub(r'("(?:created|created_at|completed_at)":)\d+', r"\g<1>0", raw.decode())


def _chat(request: dict[str, Any]) -> Reading:
    call = parse_chat(request, 99)

    def whole(groups: Groups) -> str:
        answer = ChatAnswer(call, "golden", MODEL)
        for group in groups:
            for event in group:
                answer.add(event)
        return _plain(answer.render(_count(groups).total))

    def stream(groups: Groups) -> str:
        chunks = ChatChunks(call, "golden", MODEL)
        said = [chunks.first(), *(chunks.chunk(event) for group in groups for event in group)]
        return _plain(b"".join([*said, chunks.last(_count(groups).total)]))

    return Reading(call.generation, whole, stream)


def _completion(request: dict[str, Any]) -> Reading:
    call = parse_completion(request, 9)

    def whole(groups: Groups) -> str:
        answer = CompletionAnswer(call, "golden", MODEL)
        for group in groups:
            for event in group:
                answer.add(0, event)
        return _plain(answer.render(_count(groups).total))

    def stream(groups: Groups) -> str:
        chunks = CompletionChunks(call, "golden", MODEL)
        said = [chunks.chunk(0, event) for group in groups for event in group]
        return _plain(b"".join([*said, chunks.last(_count(groups).total)]))

    return Reading(call.generations[0], whole, stream)


def _messages(request: dict[str, Any]) -> Reading:
    call = parse_messages(request, 99)

    def whole(groups: Groups) -> str:
        answer = MessageAnswer(call, "golden", _SERVED)
        for group in groups:
            for event in group:
                answer.add(event)
        return _plain(answer.render(_count(groups).total))

    def stream(groups: Groups) -> str:
        told = MessageStream(call, "golden", _SERVED)
        said = [told.first(_count(groups[:1]).total)]
        said += [told.chunk(event) for group in groups for event in group]
        return _plain(b"".join([*said, told.last(_count(groups).total)]))

    return Reading(call.generation, whole, stream)


def _response(request: dict[str, Any]) -> Reading:
    call = parse_response(request, 99).resolved([])

    def stream(groups: Groups) -> str:
        writer = ResponseWriter(call, "golden", MODEL)
        said = [writer.first(), *(writer.chunk(event) for group in groups for event in group)]
        return _plain(b"".join([*said, writer.last(_count(groups).total)]))

    def whole(groups: Groups) -> str:
        return stream(groups).rpartition("event: ")[2]

    return Reading(call.generation, whole, stream)


_DIALECTS = {
    "chat": _chat,
    "completion": _completion,
    "messages": _messages,
    "response": _response,
}
