"""Renders events as a response, whole and as a sequence of stream events. Pure.

One item is open at a time: reasoning, text, calls. Every event has the next `sequence_number`; the
last one contains the whole response, which is also the unary answer.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import orjson

from frontend.dialects.openai.failures import render_error
from frontend.dialects.openai.responses import ResponseCall
from frontend.domain.events import Event
from frontend.domain.usage import Usage
from frontend.errors import GatewayError

_ITEMS = {"reasoning": "rs", "message": "msg", "function_call": "fc"}


@dataclass(slots=True)
class _Item:
    """One item of the output, as far as it got."""

    kind: str
    id: str
    index: int
    number: int
    call_id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)

    def render(self, status: str, *, empty: bool = False) -> dict[str, Any]:
        """The item as JSON; `empty`: without content, as at its start."""
        item: dict[str, Any] = {"id": self.id, "type": self.kind, "status": status}
        if self.kind == "function_call":
            arguments = "" if empty else "".join(self.pieces)
            return {**item, "call_id": self.call_id, "name": self.name, "arguments": arguments}
        content = [] if empty else [self.part()]
        if self.kind == "reasoning":
            return {**item, "summary": [], "content": content}
        return {**item, "role": "assistant", "content": content}

    def part(self, *, empty: bool = False) -> dict[str, Any]:
        """The item's only part: its text, or its reasoning."""
        text = "" if empty else "".join(self.pieces)
        if self.kind == "reasoning":
            return {"type": "reasoning_text", "text": text}
        logprobs = [] if empty else self.logprobs
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


class ResponseWriter:
    """Renders events as they come; `response` is the whole at any time."""

    def __init__(self, call: ResponseCall, answer_id: str, model: str) -> None:
        self._call = call
        self._answer_id = answer_id
        self._model = model
        self._created_s = int(time.time())
        self._completed_s: int | None = None
        self._sequence = 0
        self._items: list[_Item] = []
        self._open = False
        self._reason: str | None = None
        self._cut_call = False

    @property
    def id(self) -> str:
        """The response's id, for `previous_response_id`."""
        return f"resp_{self._answer_id}"

    @property
    def output(self) -> list[dict[str, Any]]:
        """The finished items."""
        last = "completed" if self._finished else "incomplete"
        # without items there is one status too many
        statuses = ["completed"] * (len(self._items) - 1) + [last]
        return [item.render(status) for item, status in zip(self._items, statuses, strict=False)]

    def first(self) -> bytes:
        """The response without output."""
        body = {"response": self._response("in_progress", [], None)}
        return self._event("response.created", body) + self._event("response.in_progress", body)

    def chunk(self, event: Event) -> bytes:
        """One event."""
        parts: list[bytes] = []
        if event.reasoning:
            parts += self._said("reasoning", event.reasoning, [])
        if event.text or (event.logprobs and self._call.logprobs):
            shown = _render_logprobs(event.logprobs or []) if self._call.logprobs else []
            parts += self._said("message", event.text, shown)
        for call in event.tool_calls or ():
            parts += self._called(call)
        if event.finish_reason is not None:
            self._reason, self._cut_call = event.finish_reason, event.partial_call
        return b"".join(parts)

    def last(self, usage: Usage) -> bytes:
        """The events that end the last item and the response."""
        # an answer without a word is a message, too
        parts = [] if self._items else self._enter("message", 0)
        parts += self._close()
        whole = self.response(usage)
        return b"".join([*parts, self._event(f"response.{whole['status']}", {"response": whole})])

    def failed(self, error: GatewayError) -> bytes:
        """The event of a failure after the first byte: the response so far, and the error."""
        failure = {"code": "server_error", "message": error.message}
        whole = self._response("failed", self.output, None) | {"error": failure}
        about = {"code": error.code, "message": error.message, "param": error.param}
        # SDKs raise for an object under "error", the API's reference has its fields beside it
        inner = orjson.loads(render_error(error))
        return self._event("response.failed", {"response": whole}) + self._event(
            "error", {**about, **inner}
        )

    def response(self, usage: Usage) -> dict[str, Any]:
        """The response as a whole, after `last`."""
        status = "completed" if self._finished else "incomplete"
        return self._response(status, self.output, usage)

    @property
    def _finished(self) -> bool:
        return self._reason in ("stop", "tool_calls") and not self._cut_call

    def _said(self, kind: str, text: str, logprobs: list[dict[str, Any]]) -> list[bytes]:
        parts = self._enter(kind, 0)
        item = self._items[-1]
        item.pieces.append(text)
        item.logprobs += logprobs
        body = {"item_id": item.id, "output_index": item.index, "content_index": 0, "delta": text}
        if kind == "reasoning":
            return [*parts, self._event("response.reasoning_text.delta", body)]
        return [*parts, self._event("response.output_text.delta", {**body, "logprobs": logprobs})]

    def _called(self, call: dict[str, Any]) -> list[bytes]:
        parts = self._enter("function_call", call["index"], call)
        item, piece = self._items[-1], call["arguments"]
        if piece:
            item.pieces.append(piece)
            body = {"item_id": item.id, "output_index": item.index, "delta": piece}
            parts.append(self._event("response.function_call_arguments.delta", body))
        return parts

    def _enter(self, kind: str, number: int, call: dict[str, Any] | None = None) -> list[bytes]:
        """Begins an item unless it is the open one."""
        # by number, too: parallel calls follow each other directly
        if self._open and (self._items[-1].kind, self._items[-1].number) == (kind, number):
            return []
        parts = self._close()
        index = len(self._items)
        item = _Item(kind, f"{_ITEMS[kind]}_{self._answer_id}{index}", index, number)
        if call is not None:
            item.call_id, item.name = str(call.get("id") or ""), str(call.get("name") or "")
        self._items.append(item)
        self._open = True
        added = {"output_index": index, "item": item.render("in_progress", empty=True)}
        parts.append(self._event("response.output_item.added", added))
        if kind != "function_call":
            part = {**_place(item), "part": item.part(empty=True)}
            parts.append(self._event("response.content_part.added", part))
        return parts

    def _close(self) -> list[bytes]:
        """Ends the open item: what it came to, then the item."""
        if not self._open:
            return []
        self._open = False
        item, text = self._items[-1], "".join(self._items[-1].pieces)
        place = _place(item)
        if item.kind == "function_call":
            done = {"item_id": item.id, "output_index": item.index, "arguments": text}
            body = {**done, "name": item.name}
            parts = [self._event("response.function_call_arguments.done", body)]
        else:
            if item.kind == "reasoning":
                whole = self._event("response.reasoning_text.done", {**place, "text": text})
            else:
                body = {**place, "text": text, "logprobs": item.logprobs}
                whole = self._event("response.output_text.done", body)
            part = {**place, "part": item.part()}
            parts = [whole, self._event("response.content_part.done", part)]
        cut = self._reason is not None and not self._finished
        rendered = item.render("incomplete" if cut else "completed")
        done = {"output_index": item.index, "item": rendered}
        return [*parts, self._event("response.output_item.done", done)]

    def _response(
        self, status: str, output: list[dict[str, Any]], usage: Usage | None
    ) -> dict[str, Any]:
        full = status == "incomplete" and self._reason not in ("stop", "tool_calls")
        why = "content_filter" if self._reason == "content_filter" else "max_output_tokens"
        cut = {"reason": why} if full else None
        if status == "completed" and self._completed_s is None:  # streamed and stored alike
            self._completed_s = int(time.time())
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._created_s,
            "completed_at": self._completed_s,
            "status": status,
            "error": None,
            "incomplete_details": cut,
            "model": self._model,
            "output": output,
            **self._call.repeated,
            "background": False,
            "service_tier": "default",
            "truncation": "disabled",
            "usage": None if usage is None else _render_usage(usage),
        }

    def _event(self, name: str, body: dict[str, Any]) -> bytes:
        event = {"type": name, "sequence_number": self._sequence, **body}
        self._sequence += 1
        return f"event: {name}\ndata: ".encode() + orjson.dumps(event) + b"\n\n"


def render_input_tokens(tokens: int) -> bytes:
    """The body of `/v1/responses/input_tokens`."""
    return orjson.dumps({"object": "response.input_tokens", "input_tokens": tokens})


def render_deleted(response_id: str) -> bytes:
    """The body of a deletion."""
    return orjson.dumps({"id": response_id, "object": "response", "deleted": True})


def render_input_items(items: list[dict[str, Any]], response_id: str) -> bytes:
    """The input items of a response, newest first, as in the API."""
    data = [
        {"id": f"in_{response_id}{index}", "type": "message", **item, **_as_parts(item)}
        for index, item in reversed(list(enumerate(items)))
    ]
    # an empty page has null for both ids
    ids = [one["id"] for one in data] or [None]
    page = {"first_id": ids[0], "last_id": ids[-1], "has_more": False}
    return orjson.dumps({"object": "list", "data": data, **page})


def _as_parts(item: dict[str, Any]) -> dict[str, Any]:
    """Content as parts: a client reads one form only."""
    content = item.get("content")
    if not isinstance(content, str):
        return {}
    kind = "output_text" if item.get("role") == "assistant" else "input_text"
    return {"content": [{"type": kind, "text": content}]}


def _place(item: _Item) -> dict[str, Any]:
    return {"item_id": item.id, "output_index": item.index, "content_index": 0}


def _render_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _render_logprobs(tokens: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**_token(token), "top_logprobs": [_token(one) for one in token.get("top") or []]}
        for token in tokens
    ]


def _token(token: dict[str, Any]) -> dict[str, Any]:
    return {name: token[name] for name in ("token", "logprob", "bytes")}
