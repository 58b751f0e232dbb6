"""Renders events as the answer of `/v1/chat/completions`, whole or as chunks. Pure.

Joined chunks equal the whole answer: both are made from the same events.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import orjson

from frontend.dialects.calls import join_calls, render_call_delta
from frontend.dialects.openai.chat import ChatCall
from frontend.dialects.openai.usage import ChunkUsage, render_usage
from frontend.domain.events import Event
from frontend.domain.usage import Usage


@dataclass(slots=True)
class _Choice:
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    reason: str | None = None

    def message(self) -> dict[str, Any]:
        """The message of a choice; content is null beside tool calls, unless there is text, too."""
        content = "".join(self.text)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": content if content or not self.calls else None,
            "refusal": None,
        }
        if self.calls:
            message["tool_calls"] = join_calls(self.calls)
        if self.reasoning:
            # two names: DeepSeek's, which older clients read, and vLLM's newer one
            message["reasoning_content"] = message["reasoning"] = "".join(self.reasoning)
        return message


class ChatAnswer:
    """Collects the events of a unary request."""

    def __init__(
        self, call: ChatCall, answer_id: str, model: str, fingerprint: str | None = None
    ) -> None:
        self._call = call
        self._id = answer_id
        self._model = model
        self._fingerprint = fingerprint
        self._prompt_ids: list[int] | None = None
        self._choices = [_Choice() for _ in range(call.n)]

    def add(self, event: Event) -> None:
        """Takes one event."""
        choice = self._choices[event.index]
        choice.text.append(event.text)
        choice.reason = event.finish_reason or choice.reason
        choice.token_ids += event.token_ids
        self._prompt_ids = self._prompt_ids or event.prompt_token_ids
        if event.logprobs:
            choice.logprobs += event.logprobs
        if event.reasoning:
            choice.reasoning.append(event.reasoning)
        if event.tool_calls:
            choice.calls += event.tool_calls

    def render(self, usage: Usage) -> bytes:
        """The response body."""
        choices = [self._choice(index, choice) for index, choice in enumerate(self._choices)]
        answer: dict[str, Any] = {
            "id": f"chatcmpl-{self._id}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self._model,
            "choices": choices,
            "usage": render_usage(usage),
            "service_tier": None,
            "system_fingerprint": self._fingerprint,
        }
        if self._call.token_ids:
            answer["prompt_token_ids"] = self._prompt_ids
        return orjson.dumps(answer)

    def _choice(self, index: int, choice: _Choice) -> dict[str, Any]:
        shown = {
            "index": index,
            "message": choice.message(),
            "logprobs": _render_logprobs(choice.logprobs) if self._call.logprobs else None,
            "finish_reason": finish_reason(choice.reason),
        }
        return {**shown, "token_ids": choice.token_ids} if self._call.token_ids else shown


class ChatChunks:
    """Renders a stream. The constant part of the chunks is rendered once."""

    def __init__(
        self, call: ChatCall, answer_id: str, model: str, fingerprint: str | None = None
    ) -> None:
        head = {
            "id": f"chatcmpl-{answer_id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
            "service_tier": None,
            "system_fingerprint": fingerprint,
        }
        self._call = call
        # without the closing brace, so that the rest is joined as bytes
        self._head = b"data: " + orjson.dumps(head)[:-1]
        self._usage = ChunkUsage(call.stream_options)
        self._starts = [
            self._head + b',"choices":[{"index":%d,"delta":' % index for index in range(call.n)
        ]

    def first(self) -> bytes:
        """The role of every choice, before any text."""
        role = b'{"role":"assistant","content":"","refusal":null}' + _OPEN
        return b"".join(start + role + self._end() for start in self._starts)

    def chunk(self, event: Event) -> bytes:
        """One event, with its finish reason in a chunk of its own after the last text."""
        self._usage.see(event)
        choices = []
        if event.reasoning or event.tool_calls:
            choices.append(_special_delta(event) + _OPEN)
        if event.text or event.logprobs:
            delta = b'{"content":' + orjson.dumps(event.text) + b"}"
            if event.logprobs:
                logprobs = orjson.dumps(_render_logprobs(event.logprobs))
                choices.append(delta + b',"logprobs":' + logprobs + b',"finish_reason":null')
            else:
                choices.append(delta + _OPEN)
        if event.finish_reason is not None:
            reason = orjson.dumps(finish_reason(event.finish_reason))
            choices.append(b'{},"logprobs":null,"finish_reason":' + reason)
        if self._call.token_ids:
            return self._with_ids(event, choices)
        start, end = self._starts[event.index], self._end()
        return b"".join([part for choice in choices for part in (start, choice, end)])

    def _with_ids(self, event: Event, choices: list[bytes]) -> bytes:
        """The chunks of an event, with its tokens in the last one, which they may need alone."""
        start, end = self._starts[event.index], self._end()
        if event.prompt_token_ids is not None:
            ids = b',"prompt_token_ids":' + orjson.dumps(event.prompt_token_ids)
            start = self._head + ids + start[len(self._head) :]
        if event.token_ids or event.prompt_token_ids is not None:
            choices = choices or [b"{}" + _OPEN]
            # in the last chunk of the event, so that a client counts them once
            choices[-1] += b',"token_ids":' + orjson.dumps(event.token_ids)
        return b"".join([part for choice in choices for part in (start, choice, end)])

    def _end(self) -> bytes:
        return b"}]" + self._usage.field + b"}\n\n"

    def last(self, usage: Usage | None) -> bytes:
        """The usage, if requested, and the end mark."""
        if usage is None:
            return b"data: [DONE]\n\n"
        counts = orjson.dumps(render_usage(usage))
        return self._head + b',"choices":[],"usage":' + counts + b"}\n\ndata: [DONE]\n\n"


_OPEN = b',"logprobs":null,"finish_reason":null'


def finish_reason(reason: str | None) -> str:
    """OpenAI's finish reason; an aborted completion has `length`, because it ended early."""
    return reason if reason in ("stop", "tool_calls", "content_filter") else "length"


def _special_delta(event: Event) -> bytes:
    """What a delta holds besides content; it comes before the content, as models write it."""
    delta: dict[str, Any] = {}
    if event.reasoning:
        delta["reasoning_content"] = delta["reasoning"] = event.reasoning
    if event.tool_calls:
        delta["tool_calls"] = [render_call_delta(call) for call in event.tool_calls]
    return orjson.dumps(delta)


def _render_logprobs(tokens: list[dict[str, Any]]) -> dict[str, Any]:
    content = [
        {**_render_token(token), "top_logprobs": [_render_token(t) for t in token.get("top") or []]}
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _render_token(token: dict[str, Any]) -> dict[str, Any]:
    return {name: token[name] for name in ("token", "logprob", "bytes")}
