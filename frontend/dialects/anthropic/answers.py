"""Renders events as Anthropic's message, whole or as a sequence of stream events.

Pure. A stream has one open block at a time: thinking, text, calls. The joined blocks equal the
whole message, because both are made from the same events.
"""

from typing import Any

import orjson

from frontend.dialects.anthropic.requests import MessagesCall
from frontend.domain.events import Event
from frontend.domain.models import Model
from frontend.domain.usage import Usage


class MessageStream:
    """Renders events as they come; `first` opens the message, `last` closes it."""

    def __init__(self, call: MessagesCall, answer_id: str, model: Model) -> None:
        self._call = call
        self._id = answer_id
        self._model = model.name
        self._ending = _Ending(call, model.context_length)
        self._open: tuple[str, int] | None = None
        self._blocks = 0

    def first(self, usage: Usage) -> bytes:
        """The message without content, and a `ping` event, as the API sends them."""
        message = _message(self._id, self._model, [], (None, None), usage)
        start = _event("message_start", {"message": message})
        return start + _event("ping", {})

    def chunk(self, event: Event) -> bytes:
        """One event."""
        parts: list[bytes] = []
        if event.reasoning:
            parts += self._thinking(event.reasoning)
        if event.text:
            parts += self._delta("text", 0, {"type": "text_delta", "text": event.text})
        for call in event.tool_calls or ():
            parts += self._called(call)
        self._ending.see(event)
        return b"".join(parts)

    def last(self, usage: Usage) -> bytes:
        """The stop reason and the usage."""
        reason, sequence = self._ending.reason(usage)
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        body = {"delta": delta, "usage": render_usage(usage), **_edits(self._call)}
        parts = [*self._close(), _event("message_delta", body), _event("message_stop", {})]
        return b"".join(parts)

    def _thinking(self, thought: str) -> list[bytes]:
        # `display: omitted` hides the text only, so the empty block is still sent
        shown = "" if self._call.hide_thinking else thought
        delta = {"type": "thinking_delta", "thinking": shown}
        return self._delta("thinking", 0, delta) if shown else self._enter("thinking", 0, {})

    def _called(self, call: dict[str, Any]) -> list[bytes]:
        about = {"id": call.get("id"), "name": call.get("name")}
        parts = self._enter("tool_use", call["index"], about)
        if call["arguments"]:
            delta = {"type": "input_json_delta", "partial_json": call["arguments"]}
            parts.append(self._delta_event(delta))
        return parts

    def _delta(self, kind: str, number: int, delta: dict[str, Any]) -> list[bytes]:
        return [*self._enter(kind, number, {}), self._delta_event(delta)]

    def _delta_event(self, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", {"index": self._blocks - 1, "delta": delta})

    def _enter(self, kind: str, number: int, about: dict[str, Any]) -> list[bytes]:
        """Opens the block unless it is the open one."""
        if self._open == (kind, number):
            return []
        parts = self._close()
        self._open = (kind, number)
        body = {"index": self._blocks, "content_block": {"type": kind, **_EMPTY[kind], **about}}
        self._blocks += 1
        return [*parts, _event("content_block_start", body)]

    def _close(self) -> list[bytes]:
        if self._open is None:
            return []
        self._open = None
        return [_event("content_block_stop", {"index": self._blocks - 1})]


class MessageAnswer:
    """Collects the events of a unary request."""

    def __init__(self, call: MessagesCall, answer_id: str, model: Model) -> None:
        self._call = call
        self._id = answer_id
        self._model = model.name
        self._ending = _Ending(call, model.context_length)
        self._blocks: list[tuple[tuple[str, int], dict[str, Any], list[str]]] = []

    def add(self, event: Event) -> None:
        """Takes one event."""
        if event.reasoning:
            self._add("thinking", 0, {}, "" if self._call.hide_thinking else event.reasoning)
        if event.text:
            self._add("text", 0, {}, event.text)
        for call in event.tool_calls or ():
            about = {"id": call.get("id"), "name": call.get("name")}
            self._add("tool_use", call["index"], about, call["arguments"])
        self._ending.see(event)

    def render(self, usage: Usage) -> bytes:
        """The response body."""
        content = [_whole(key[0], about, "".join(parts)) for key, about, parts in self._blocks]
        ending = self._ending.reason(usage)
        message = _message(self._id, self._model, content, ending, usage)
        return orjson.dumps(message | _edits(self._call))

    def _add(self, kind: str, number: int, about: dict[str, Any], piece: str) -> None:
        if not self._blocks or self._blocks[-1][0] != (kind, number):
            self._blocks.append(((kind, number), about, []))
        self._blocks[-1][2].append(piece)


class _Ending:
    """Why the message ended, in Anthropic's words."""

    def __init__(self, call: MessagesCall, context_length: int | None) -> None:
        self._call = call
        self._context_length = context_length
        self._called = False
        self._reason: str | None = None
        self._stop: str | int | None = None

    def see(self, event: Event) -> None:
        self._called = self._called or bool(event.tool_calls)
        if event.finish_reason is not None:
            self._reason, self._stop = event.finish_reason, event.stop_reason

    def reason(self, usage: Usage) -> tuple[str, str | None]:
        """(stop_reason, stop_sequence)"""
        if self._reason == "content_filter":
            return "refusal", None
        if self._reason not in ("stop", "tool_calls"):
            # not by `max_tokens` alone: a budget may have ended it before
            full = (
                self._reason == "length"
                and self._context_length is not None
                and usage.prompt_tokens + usage.completion_tokens >= self._context_length
                and usage.completion_tokens < (self._call.generation.sampling.max_tokens or 0)
            )
            return ("model_context_window_exceeded" if full else "max_tokens"), None
        if self._called:
            return "tool_use", None
        if isinstance(self._stop, str) and self._stop in self._call.stops:
            return "stop_sequence", self._stop
        return "end_turn", None


def render_usage(usage: Usage) -> dict[str, Any]:
    """Token counts; tokens from the cache are counted separately."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }


def render_count(call: MessagesCall, tokens: int) -> bytes:
    """The body of `count_tokens`."""
    body: dict[str, Any] = {"input_tokens": tokens}
    if call.manages_context:
        body["context_management"] = {"original_input_tokens": tokens}
    return orjson.dumps(body)


def _edits(call: MessagesCall) -> dict[str, Any]:
    return {"context_management": {"applied_edits": []}} if call.manages_context else {}


_EMPTY: dict[str, dict[str, Any]] = {
    "text": {"text": ""},
    # the SDK's types require a signature; the text is not signed here
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
}


def _whole(kind: str, about: dict[str, Any], text: str) -> dict[str, Any]:
    if kind == "text":
        return {"type": kind, "text": text}
    if kind == "thinking":
        return {"type": kind, "thinking": text, "signature": ""}
    return {"type": kind, **about, "input": orjson.loads(text)}


def _message(
    answer_id: str,
    model: str,
    content: list[dict[str, Any]],
    ending: tuple[str | None, str | None],
    usage: Usage,
) -> dict[str, Any]:
    return {
        "id": f"msg_{answer_id}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": ending[0],
        "stop_sequence": ending[1],
        "usage": render_usage(usage),
    }


def _event(name: str, body: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: ".encode() + orjson.dumps({"type": name, **body}) + b"\n\n"
