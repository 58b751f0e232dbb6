"""Renders events as Ollama's answers: NDJSON chunks or one object, with measured times.

Tool calls are sent complete, with their arguments as objects. Joined chunks equal the unary answer.
"""

import time
from datetime import UTC, datetime
from typing import Any

import orjson

from frontend.dialects.calls import join_calls
from frontend.dialects.ollama.requests import OllamaCall
from frontend.domain.events import Event
from frontend.domain.usage import Usage


class OllamaReply:
    """One reply; its times are counted from the arrival of the request."""

    def __init__(self, call: OllamaCall) -> None:
        self._call = call
        self._start_ns = time.perf_counter_ns()
        self._load_ns = 0
        self._first_ns: int | None = None
        self._last_ns = 0
        self._reason = "stop"
        self._calls: list[dict[str, Any]] = []
        self._context: list[int] = []

    def admitted(self) -> None:
        """Notes the end of the request's wait, which Ollama reports as loading time."""
        self._load_ns = time.perf_counter_ns() - self._start_ns

    def arrived(self) -> None:
        """Notes the time at which a part of the answer arrived."""
        self._last_ns = time.perf_counter_ns()
        if self._first_ns is None:
            self._first_ns = self._last_ns

    def chunk(self, events: list[Event]) -> bytes:
        """The line for a group of events; empty if there is nothing to send yet."""
        fields = self.collect(events)
        self.arrived()
        return self._line(fields) if fields else b""

    def collect(self, events: list[Event]) -> dict[str, Any]:
        """The content of a group of events, by the field names of a message."""
        fields: dict[str, Any] = {}
        for event in events:
            self._context += event.prompt_token_ids or []
            self._context += event.token_ids
            # an aborted answer ended early as well
            self._reason = "length" if event.finish_reason in ("length", "abort") else "stop"
            self._calls += event.tool_calls or []
            for name, delta in (("content", event.text), ("thinking", event.reasoning)):
                if delta:
                    fields[name] = fields.get(name, "") + delta
            if event.logprobs:
                fields["logprobs"] = [*fields.get("logprobs", []), *map(_logprob, event.logprobs)]
            if event.finish_reason is not None and self._calls:
                fields["tool_calls"] = _whole(self._calls)
        return fields

    def last(self, usage: Usage, fields: dict[str, Any] | None = None) -> bytes:
        """The line that ends a stream, or the whole answer when `fields` is all of it."""
        end_ns = time.perf_counter_ns()
        first_ns = self._first_ns or end_ns
        answer = self._body(fields or {})
        answer |= {"done": True, "done_reason": self._reason}
        if self._call.tells_context:
            answer["context"] = self._context
        answer["total_duration"] = end_ns - self._start_ns
        answer["load_duration"] = self._load_ns
        answer["prompt_eval_count"] = usage.prompt_tokens
        answer["prompt_eval_duration"] = max(0, first_ns - self._start_ns - self._load_ns)
        answer["eval_count"] = usage.completion_tokens
        answer["eval_duration"] = max(0, (self._last_ns or end_ns) - first_ns)
        return orjson.dumps(answer) + b"\n"

    def _line(self, fields: dict[str, Any]) -> bytes:
        return orjson.dumps(self._body(fields) | {"done": False}) + b"\n"

    def _body(self, fields: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {"model": self._call.model, "created_at": now()}
        fields = {"content": ""} | fields
        logprobs = fields.pop("logprobs", None)
        if self._call.chat:
            answer["message"] = {"role": "assistant"} | fields
        else:
            answer["response"] = fields.pop("content")
            answer |= fields
        if logprobs is not None:
            answer["logprobs"] = logprobs
        return answer


def render_loading(call: OllamaCall) -> bytes:
    """The answer to an empty prompt: the model is loaded or unloaded."""
    answer: dict[str, Any] = {"model": call.model, "created_at": now()}
    answer |= {"message": {"role": "assistant", "content": ""}} if call.chat else {"response": ""}
    answer |= {"done": True, "done_reason": "unload" if call.unload else "load"}
    return orjson.dumps(answer) + b"\n"


def render_image(call: OllamaCall, image: str, start_ns: int) -> bytes:
    """A generated image, as base64."""
    answer = {"model": call.model, "created_at": now(), "response": "", "image": image}
    answer |= {"done": True, "done_reason": "stop"}  # type: ignore[dict-item]
    answer |= {"total_duration": time.perf_counter_ns() - start_ns}  # type: ignore[dict-item]
    return orjson.dumps(answer) + b"\n"


def now() -> str:
    """The current time in Ollama's format."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _whole(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Calls with their arguments as objects."""
    whole = []
    for index, call in enumerate(join_calls(calls)):
        function = call["function"]
        arguments = orjson.loads(function["arguments"])
        fields = {"index": index, "name": function["name"], "arguments": arguments}
        whole.append({"id": call["id"], "function": fields})
    return whole


def _logprob(entry: dict[str, Any]) -> dict[str, Any]:
    fields = {name: entry[name] for name in ("token", "logprob", "bytes")}
    top = [{name: one[name] for name in ("token", "logprob", "bytes")} for one in entry["top"]]
    return fields | {"top_logprobs": top}
