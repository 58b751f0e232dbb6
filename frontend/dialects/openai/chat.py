"""`POST /v1/chat/completions`: request → canonical generation, events → answer or chunks.

Pure. Joined chunks equal the unary answer: both are made from the same events.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import orjson

from frontend.dialects.fields import Fields
from frontend.dialects.openai.sampling import (
    MAX_TOKENS,
    read_identity,
    read_response_format,
    read_sampling,
    read_stream_options,
    structure_at,
)
from frontend.dialects.openai.structured import StructureCheck
from frontend.dialects.openai.tools import join_calls, read_calls, read_tools, render_call_delta
from frontend.dialects.openai.usage import render_usage
from frontend.dialects.schemas import Structure
from frontend.domain import Event, Generation, ImageLink, Usage
from frontend.errors import InvalidRequest

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A parsed chat request."""

    model: str
    generation: Generation
    n: int
    stream: bool
    include_usage: bool
    logprobs: bool
    user: str | None
    structure: Structure | None = None
    images: tuple[ImageLink, ...] = ()


def parse_chat(body: object, max_messages: int) -> ChatCall:
    """Raises InvalidRequest naming the field for anything that cannot be honoured."""
    fields = Fields(body)
    model = fields.text("model")
    if not model:
        raise fields.refuse("model", "is required", code="missing_required_parameter")
    images: list[ImageLink] = []
    messages = _messages(fields, max_messages, images)
    stream = fields.boolean("stream") or False
    include_usage = read_stream_options(fields, stream)
    sampling = _max_tokens(fields) | read_sampling(fields)
    tools = read_tools(fields)
    options, reading = _template(fields)
    prompt = {"messages": messages, **options}
    if tools.tools:
        prompt["tools"] = tools.tools
    structure = read_response_format(fields, sampling)
    logprobs = _logprobs(fields, sampling)
    user = read_identity(fields)
    _refuse_what_is_missing(fields)
    fields.finish()
    return ChatCall(
        model,
        Generation(prompt, sampling, tools.reply | reading, structure_at=structure_at(body)),
        sampling.get("n", 1),
        stream,
        include_usage,
        logprobs,
        user,
        structure,
        tuple(images),
    )


def _messages(fields: Fields, most: int, images: list[ImageLink]) -> list[dict[str, Any]]:
    """The messages as the chat template takes them; what they refer to goes into `images`."""
    messages = fields.required("messages")
    if not isinstance(messages, list) or not messages:
        raise fields.refuse("messages", "must be a list of at least one message")
    if len(messages) > most:
        raise fields.refuse("messages", f"has {len(messages)} entries, at most {most} are allowed")
    return [
        _message(message, f"messages[{index}]", images) for index, message in enumerate(messages)
    ]


def _message(value: object, path: str, images: list[ImageLink]) -> dict[str, Any]:
    fields = Fields(value, path)
    role = fields.choice("role", _ROLES)
    if role is None:
        raise fields.refuse("role", "is required")
    message: dict[str, Any] = {"role": _ROLES[role]}
    content = _content(fields, images)
    calls = read_calls(fields) if role == "assistant" else []
    if content is None and role != "assistant":
        raise fields.refuse("content", "is required")
    message["content"] = content if content is not None else ""
    if calls:
        message["tool_calls"] = calls
    if fields.exhausted:
        return message
    for name in ("tool_calls", "function_call"):
        fields.only(name, ([],), "only assistant messages have calls")
    fields.only("audio", (), "this model takes no audio")
    fields.only("refusal", ("",), "send the refusal as content")
    fields.only("annotations", ([],), "messages have no annotations here")
    extra = {"name": fields.text("name"), "tool_call_id": fields.text("tool_call_id")}
    thought = [fields.text("reasoning_content"), fields.text("reasoning")]
    if role == "assistant" and any(thought):
        extra["reasoning_content"] = thought[0] or thought[1]
    fields.finish()
    return message | {key: given for key, given in extra.items() if given is not None}


def _content(fields: Fields, images: list[ImageLink]) -> str | list[dict[str, str]] | None:
    """A string; text parts joined as the chat templates want them; or parts, if some are images."""
    content = fields.take("content")
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise fields.refuse("content", "must be a string or a list of content parts")
    before = len(images)
    parts = [
        _part(part, fields.at(f"content[{index}]"), images) for index, part in enumerate(content)
    ]
    if len(images) > before:
        return parts
    return "".join(part["text"] for part in parts)


def _part(value: object, path: str, images: list[ImageLink]) -> dict[str, str]:
    part = Fields(value, path)
    kind = part.choice("type", ("text", "image_url", "input_audio", "file", "refusal"))
    if kind == "image_url":
        images.append(_image(part))
        return {"type": "image"}
    if kind != "text":
        raise InvalidRequest(
            f"'{path}.type' is {kind!r}; text and images are taken",
            param=f"{path}.type",
            code="unsupported_content",
        )
    text = part.text("text")
    if text is None:
        raise part.refuse("text", "is required")
    part.finish()
    return {"type": "text", "text": text}


def _image(part: Fields) -> ImageLink:
    inner = part.inner("image_url")
    url = None if inner is None else inner.text("url")
    if inner is None or not url:
        raise part.refuse("image_url.url", "is required", code="missing_required_parameter")
    if not url.lower().startswith(("https:", "data:")):
        raise inner.refuse("url", "must begin with 'https:' or 'data:'")
    inner.choice("detail", ("auto", "low", "high", "original"))  # the model has one way to look
    inner.finish()
    part.finish()
    return ImageLink(url, inner.at("url"))


def _template(fields: Fields) -> tuple[dict[str, Any], dict[str, Any]]:
    """vLLM's extras for the chat template, and what they mean for reading the reply."""
    if fields.exhausted:
        return {}, {}
    options = fields.mapping("chat_template_kwargs")
    effort = fields.choice("reasoning_effort", _EFFORTS)
    given = {
        "chat_template_kwargs": options,
        "reasoning_effort": effort,
        "add_generation_prompt": fields.boolean("add_generation_prompt"),
        "continue_final_message": fields.boolean("continue_final_message"),
    }
    reading: dict[str, Any] = {}
    if effort is not None:
        options = {"enable_thinking": effort != "none", **(options or {})}
    if options:
        reading["chat_template_kwargs"] = options
    if (include := fields.boolean("include_reasoning")) is not None:
        reading["include_reasoning"] = include
    return {name: value for name, value in given.items() if value is not None}, reading


def _max_tokens(fields: Fields) -> dict[str, int]:
    modern = fields.integer("max_completion_tokens", 1, MAX_TOKENS)
    legacy = fields.integer("max_tokens", 1, MAX_TOKENS)
    if modern is not None and legacy is not None and modern != legacy:
        raise fields.refuse("max_tokens", "contradicts 'max_completion_tokens'; send one of them")
    limit = modern if modern is not None else legacy
    return {} if limit is None else {"max_tokens": limit}


def _logprobs(fields: Fields, sampling: dict[str, Any]) -> bool:
    wanted = fields.boolean("logprobs") or False
    top = fields.integer("top_logprobs", 0, 20)
    if top is not None and not wanted:
        raise fields.refuse("top_logprobs", "is only allowed with 'logprobs': true")
    if wanted:
        sampling["logprobs"] = top or 0
    return wanted


def _refuse_what_is_missing(fields: Fields) -> None:
    if fields.exhausted:
        return
    fields.only("modalities", (["text"],), "models answer in text")
    fields.only("audio", (), "models answer in text")
    fields.only("prediction", (), "predicted outputs are not used")
    fields.only("verbosity", ("medium",), "no model here has verbosity levels")
    fields.only("web_search_options", (), "there is no web search")
    fields.only("prompt_cache_retention", ("in_memory",), "caches live in memory")
    fields.only("moderation", (), "there is no moderation")


@dataclass(slots=True)
class _Choice:
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    reason: str | None = None

    def message(self) -> dict[str, Any]:
        """Content is null beside tool calls, unless the model said something, too."""
        content = "".join(self.text)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": content if content or not self.calls else None,
            "refusal": None,
        }
        if self.calls:
            message["tool_calls"] = join_calls(self.calls)
        if self.reasoning:
            message["reasoning_content"] = message["reasoning"] = "".join(self.reasoning)
        return message


class ChatAnswer:
    """Collects the events of a unary request."""

    def __init__(self, call: ChatCall, answer_id: str, model: str) -> None:
        self._id = answer_id
        self._model = model
        self._with_logprobs = call.logprobs
        self._choices = [_Choice() for _ in range(call.n)]
        self._check = StructureCheck(call.structure, call.n)

    def add(self, event: Event) -> None:
        """Takes one event. Raises BackendFailed when an answer ends that is not as asked for."""
        choice = self._choices[event.index]
        choice.text.append(event.text)
        choice.reason = event.finish_reason or choice.reason
        if event.logprobs:
            choice.logprobs += event.logprobs
        if event.reasoning:
            choice.reasoning.append(event.reasoning)
        if event.tool_calls:
            choice.calls += event.tool_calls
        self._check.see(event)

    def render(self, usage: Usage) -> bytes:
        """The response body."""
        choices = [
            {
                "index": index,
                "message": choice.message(),
                "logprobs": _render_logprobs(choice.logprobs) if self._with_logprobs else None,
                "finish_reason": finish_reason(choice.reason),
            }
            for index, choice in enumerate(self._choices)
        ]
        return orjson.dumps(
            {
                "id": f"chatcmpl-{self._id}",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": self._model,
                "choices": choices,
                "usage": render_usage(usage),
                "service_tier": None,
                "system_fingerprint": None,
            }
        )


class ChatChunks:
    """Renders a stream. What does not change between chunks is rendered once."""

    def __init__(self, call: ChatCall, answer_id: str, model: str) -> None:
        head = {
            "id": f"chatcmpl-{answer_id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
            "service_tier": None,
            "system_fingerprint": None,
        }
        self._n = call.n
        self._head = b"data: " + orjson.dumps(head)[:-1]
        self._no_usage = b',"usage":null' if call.include_usage else b""
        self._starts = [
            self._head + b',"choices":[{"index":%d,"delta":' % index for index in range(call.n)
        ]
        self._check = StructureCheck(call.structure, call.n)
        self._plain_end = b',"logprobs":null,"finish_reason":null}]' + self._no_usage + b"}\n\n"

    def first(self) -> bytes:
        """The role of every choice, before any text."""
        role = b'{"role":"assistant","content":"","refusal":null}'
        return b"".join(start + role + self._plain_end for start in self._starts)

    def chunk(self, event: Event) -> bytes:
        """One event, with its finish reason in a chunk of its own after the last text.

        Raises BackendFailed in place of the finish reason of an answer that is not as asked for.
        """
        start = self._starts[event.index]
        parts = []
        if event.reasoning or event.tool_calls:
            parts += [start, _special_delta(event), self._plain_end]
        if event.text or event.logprobs:
            delta = b'{"content":' + orjson.dumps(event.text) + b"}"
            if event.logprobs:
                logprobs = orjson.dumps(_render_logprobs(event.logprobs))
                end = b',"logprobs":' + logprobs + b',"finish_reason":null}]'
                parts += [start, delta, end, self._no_usage, b"}\n\n"]
            else:
                parts += [start, delta, self._plain_end]
        self._check.see(event)
        if event.finish_reason is not None:
            reason = orjson.dumps(finish_reason(event.finish_reason))
            end = b'{},"logprobs":null,"finish_reason":' + reason + b"}]"
            parts += [start, end, self._no_usage, b"}\n\n"]
        return b"".join(parts)

    def last(self, usage: Usage | None) -> bytes:
        """The usage, when asked for, and the end mark."""
        if usage is None:
            return b"data: [DONE]\n\n"
        counts = orjson.dumps(render_usage(usage))
        return self._head + b',"choices":[],"usage":' + counts + b"}\n\ndata: [DONE]\n\n"


def finish_reason(reason: str | None) -> str:
    """OpenAI's word for why a completion ended; an aborted one ended early, as by a limit."""
    return reason if reason in ("stop", "tool_calls") else "length"


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
