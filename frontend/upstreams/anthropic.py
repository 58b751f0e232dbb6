"""One server that speaks Anthropic's Messages API as an upstream.

What the API has no field for is refused, so that nothing is lost silently.
"""

import base64
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import orjson

from frontend.domain.events import Event, Events
from frontend.domain.generation import Conversation, Generation
from frontend.domain.messages import Message, Text
from frontend.domain.models import Model
from frontend.domain.sampling import Sampling
from frontend.domain.tools import Named, Tools
from frontend.errors import BackendFailed
from frontend.upstreams.protocol import Call
from frontend.upstreams.remote import BROKEN, UNREADABLE, Remote, make_model, refusal, unsupported
from frontend.upstreams.web import Refused

_LIST_S = 5.0
_MOST_TOKENS = 4096
"""The API requires a limit; this one where neither the request nor the model has one."""
_CAPABILITIES = ("chat", "tools", "vision", "reasoning")
_ABSENT = (
    *("presence_penalty", "frequency_penalty", "seed", "logit_bias", "min_p"),
    *("repetition_penalty", "min_tokens", "logprobs", "prompt_logprobs"),
)
_REASONS = {
    "end_turn": "stop", "stop_sequence": "stop", "pause_turn": "stop", "tool_use": "tool_calls",
    "max_tokens": "length", "model_context_window_exceeded": "length", "refusal": "content_filter",
}  # fmt: skip
_STATUSES = {
    "invalid_request_error": 400, "request_too_large": 413, "rate_limit_error": 429,
    "overloaded_error": 529, "authentication_error": 401, "permission_error": 403,
}  # fmt: skip
_SIGNATURES = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))


@dataclass(slots=True)
class Anthropic(Remote):
    """Claude, and servers with the same API."""

    async def listed(self) -> list[Model]:
        """From `/v1/models`."""
        answer = await self.web.read("GET", "/v1/models?limit=1000", timeout_s=_LIST_S)
        try:
            return [
                make_model(
                    str(one["id"]),
                    _CAPABILITIES,
                    context_length=one.get("max_input_tokens"),
                    images=True,
                    owned_by="anthropic",
                )
                for one in answer["data"]
            ]
        except BROKEN:
            raise BackendFailed(UNREADABLE) from None

    async def generate(self, model: Model, generation: Generation, call: Call) -> Events:
        """The events of one generation, as they come."""
        body = write_body(self.own(model), generation, model.context_length)
        reading = Reading()
        try:
            async with aclosing(self.web.lines("/v1/messages", body, call)) as groups:
                async for lines in groups:
                    # the name of an event is in its data as well
                    messages = [_message_of(line) for line in lines if line.startswith(b"data:")]
                    read = map(reading.read, messages)
                    yield [event for event in read if event is not None]
        except Refused as refused:
            raise refusal(refused, model, generation, call) from None
        except BROKEN:
            raise BackendFailed(UNREADABLE) from None

    async def count(self, model: Model, generation: Generation, call: Call) -> int:
        """By `/v1/messages/count_tokens`."""
        body = write_prompt(self.own(model), generation)
        answer = await self.read("/v1/messages/count_tokens", body, call)
        try:
            return int(answer["input_tokens"])
        except BROKEN:
            raise BackendFailed(UNREADABLE) from None


def _message_of(line: bytes) -> dict[str, Any]:
    message: dict[str, Any] = orjson.loads(line[5:])
    if message["type"] == "error":
        raise Refused(_STATUSES.get(message["error"].get("type"), 500), message)
    return message


def write_body(model: str, generation: Generation, context: int | None) -> dict[str, Any]:
    """The body of a streamed request. Raises InvalidRequest for what the API cannot honour."""
    sampling = generation.sampling
    body = write_prompt(model, generation) | {"stream": True}
    body["max_tokens"] = sampling.max_tokens or min(_MOST_TOKENS, context or _MOST_TOKENS)
    body |= _sampling(sampling)
    if (structure := generation.structure) is not None:
        if structure.kind != "json":
            unsupported(structure.path, "anthropic")
        body["output_config"] = {"format": {"type": "json_schema", "schema": structure.value}}
    if sampling.thinking_budget is not None:
        body["thinking"] = {"type": "enabled", "budget_tokens": sampling.thinking_budget}
    return body


def write_prompt(model: str, generation: Generation) -> dict[str, Any]:
    """Only the fields of the prompt."""
    prompt = generation.prompt
    if not isinstance(prompt, Conversation):
        unsupported("prompt", "anthropic")
    images = iter(generation.images)
    system = [one for one in prompt.messages if one.role == "system"]
    body: dict[str, Any] = {"model": model, "messages": []}
    if system:
        body["system"] = [{"type": "text", "text": _text(one)} for one in system]
    for message in prompt.messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message, images)
        # results of several calls belong in one message of the user
        if body["messages"] and body["messages"][-1]["role"] == role:
            body["messages"][-1]["content"] += blocks
        else:
            body["messages"].append({"role": role, "content": blocks})
    options = dict(prompt.template_options or {})
    if (thinks := options.pop("enable_thinking", None)) is False:
        body["thinking"] = {"type": "disabled"}
    if options or (thinks and generation.sampling.thinking_budget is None):
        unsupported("chat_template_kwargs", "anthropic")
    if generation.tools is not None and generation.tools.allowed:
        body |= _tools(generation.tools)
    return body


def _sampling(sampling: Sampling) -> dict[str, Any]:
    absent = [name for name in _ABSENT if getattr(sampling, name) is not None]
    for name in (*absent, *sampling.extras):
        unsupported(name, "anthropic")
    if sampling.choices > 1:
        unsupported("n", "anthropic")
    fields = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    fields["stop_sequences"] = [*sampling.stop] if sampling.stop else None  # type: ignore[assignment]
    return {name: value for name, value in fields.items() if value is not None}


def _tools(tools: Tools) -> dict[str, Any]:
    declared = [
        {"name": one.name, "description": one.description or "", "input_schema": one.parameters}
        for one in tools.allowed
    ]
    choice: dict[str, Any] = {"type": "auto"}
    if isinstance(tools.choice, Named):
        choice = {"type": "tool", "name": tools.choice.name}
    elif tools.choice != "auto":
        choice = {"type": "any" if tools.choice == "required" else "none"}
    if tools.parallel is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return {"tools": declared, "tool_choice": choice}


def _text(message: Message) -> str:
    content = message.content
    if isinstance(content, str):
        return content
    return "".join(part.text for part in content if isinstance(part, Text))


def _blocks(message: Message, images: Iterator[bytes]) -> list[dict[str, Any]]:
    if message.role == "tool":
        result = {"type": "tool_result", "tool_use_id": message.answers or ""}
        return [result | {"content": _text(message)}]
    blocks: list[dict[str, Any]] = []
    parts = (Text(message.content),) if isinstance(message.content, str) else message.content
    for part in parts:
        if not isinstance(part, Text):
            blocks.append(_image(next(images)))
        elif part.text:  # the API refuses empty blocks
            blocks.append({"type": "text", "text": part.text})
    for number, call in enumerate(message.calls):
        use = {"type": "tool_use", "id": call.id or f"toolu_{number}", "name": call.name}
        blocks.append(use | {"input": orjson.loads(call.arguments or "{}")})
    return blocks


def _image(file: bytes) -> dict[str, Any]:
    kind = next((name for start, name in _SIGNATURES if file.startswith(start)), "png")
    data = base64.b64encode(file).decode()
    source = {"type": "base64", "media_type": f"image/{kind}", "data": data}
    return {"type": "image", "source": source}


@dataclass(slots=True)
class Reading:
    """One answer as its events arrive. Until the last one each delta counts as a token."""

    _prompt: int = 0
    _cached: int = 0
    _tokens: int = 0
    _calls: dict[int, int] = field(default_factory=dict)
    """The number of each call, by the number of its block."""

    def read(self, message: dict[str, Any]) -> Event | None:
        """The event of one message of the stream, if it is one. Raises KeyError, TypeError or
        ValueError if the message is not valid."""
        kind = message["type"]
        if kind == "message_start":
            self._see(message["message"].get("usage") or {})
        elif kind == "content_block_start" and message["content_block"]["type"] == "tool_use":
            block = message["content_block"]
            number = self._calls[message["index"]] = len(self._calls)
            return self._event(calls=[_call(number, block["id"], block["name"], "")])
        elif kind == "content_block_delta":
            return self._delta(message)
        elif kind == "message_delta":
            self._see(message.get("usage") or {})
            reason = _REASONS.get(message["delta"].get("stop_reason"), "stop")
            event = self._event(reason=reason)
            event.stop_reason = message["delta"].get("stop_sequence")
            return event
        return None

    def _delta(self, message: dict[str, Any]) -> Event | None:
        delta = message["delta"]
        self._tokens += 1
        if delta["type"] == "text_delta":
            return self._event(text=delta["text"])
        if delta["type"] == "thinking_delta":
            return self._event(reasoning=delta["thinking"])
        if delta["type"] == "input_json_delta":
            number = self._calls[message["index"]]
            return self._event(calls=[_call(number, "", "", delta["partial_json"])])
        return None

    def _see(self, usage: dict[str, Any]) -> None:
        if "input_tokens" in usage and usage["input_tokens"] is not None:
            self._cached = int(usage.get("cache_read_input_tokens") or 0)
            written = int(usage.get("cache_creation_input_tokens") or 0)
            self._prompt = int(usage["input_tokens"]) + self._cached + written
        if usage.get("output_tokens"):
            self._tokens = int(usage["output_tokens"])

    def _event(
        self,
        text: str = "",
        reasoning: str | None = None,
        calls: list[dict[str, Any]] | None = None,
        reason: str | None = None,
    ) -> Event:
        return Event(
            index=0,
            text=text,
            token_ids=[],
            finish_reason=reason,
            stop_reason=None,
            prompt_tokens=self._prompt,
            cached_tokens=self._cached,
            completion_tokens=self._tokens,
            reasoning=reasoning,
            tool_calls=calls,
        )


def _call(number: int, call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"index": number, "id": call_id, "name": name, "arguments": arguments}
