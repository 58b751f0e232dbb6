"""One Ollama server as an upstream, by its own API.

What Ollama has no field for is refused, so that nothing is lost silently. Arguments of its calls
are objects, and every call comes whole.
"""

import base64
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson

from frontend.domain.events import Event, Events
from frontend.domain.generation import Conversation, Generation, Passage
from frontend.domain.messages import Image, Message
from frontend.domain.models import Model
from frontend.domain.structure import Structure
from frontend.domain.tools import Tools
from frontend.domain.vectors import Embedding, Vectors
from frontend.errors import BackendFailed
from frontend.upstreams.counting import count_by_generating
from frontend.upstreams.protocol import Call
from frontend.upstreams.remote import BROKEN, UNREADABLE, Remote, make_model, refusal, unsupported
from frontend.upstreams.web import Refused

_LIST_S = 5.0
_MAX_MODELS = 200
_LATEST = ":latest"
_ABILITIES = {
    "completion": ("chat", "completion"),
    "tools": ("tools",),
    "vision": ("vision",),
    "insert": ("infill",),
    "thinking": ("reasoning",),
    "embedding": ("embedding",),
    "image": ("image",),
}
_OPTIONS = {
    "max_tokens": "num_predict", "temperature": "temperature", "top_p": "top_p", "top_k": "top_k",
    "min_p": "min_p", "seed": "seed", "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty", "repetition_penalty": "repeat_penalty",
}  # fmt: skip
_ABSENT = ("logit_bias", "min_tokens", "thinking_budget", "prompt_logprobs")


@dataclass(slots=True)
class Ollama(Remote):
    """`_shown`: what `/api/show` said about each model, by its digest."""

    _shown: dict[tuple[str, str], Model] = field(default_factory=dict)

    async def listed(self) -> list[Model]:
        """From `/api/tags`, and `/api/show` for each model once."""
        answer = await self.web.read("GET", "/api/tags", timeout_s=_LIST_S)
        try:
            tags = [(str(one["name"]), str(one.get("digest"))) for one in answer["models"]]
            shown = {tag: await self._show(tag) for tag in tags[:_MAX_MODELS]}
        except BROKEN:
            raise BackendFailed(UNREADABLE) from None
        self._shown = shown
        return [*shown.values()]

    async def _show(self, tag: tuple[str, str]) -> Model:
        if (known := self._shown.get(tag)) is not None:
            return known
        name, _ = tag
        said = await self.web.read("POST", "/api/show", {"model": name}, _LIST_S)
        able = [ours for word in said["capabilities"] for ours in _ABILITIES.get(word, ())]
        lengths = [
            int(value)
            for key, value in (said.get("model_info") or {}).items()
            if key.endswith(".context_length")
        ]
        # clients may leave the tag `latest` out, and Ollama as well
        name = name.removesuffix(_LATEST)
        length = lengths[0] if lengths else None
        return make_model(
            name, able, context_length=length, images="vision" in able, owned_by="ollama"
        )

    async def generate(self, model: Model, generation: Generation, call: Call) -> Events:
        """The events of one generation, as they come."""
        body = write_body(self.own(model), generation)
        path = "/api/chat" if isinstance(generation.prompt, Conversation) else "/api/generate"
        calls = tokens = 0
        try:
            async with aclosing(self.web.lines(path, body, call)) as groups:
                async for lines in groups:
                    events = []
                    for line in map(_value_of, lines):
                        event, new = read_line(line, calls, tokens)
                        calls, tokens = calls + new, event.completion_tokens
                        events.append(event)
                    yield events
        except Refused as refused:
            raise refusal(refused, model, generation, call) from None
        except BROKEN:
            raise BackendFailed(UNREADABLE) from None

    async def embed(self, model: Model, embedding: Embedding, call: Call) -> Vectors:
        """All texts in one request."""
        if embedding.ids is not None:
            unsupported("input", self.engine)
        body = {
            "model": self.own(model),
            "input": embedding.texts,
            "truncate": embedding.truncate,
        }
        answer = await self.read("/api/embed", body, call)
        try:
            array = np.asarray(answer["embeddings"], dtype="<f4")
            count, dimensions = array.shape
            tokens = int(answer.get("prompt_eval_count") or 0)
        except BROKEN:
            raise BackendFailed(UNREADABLE) from None
        if count != len(embedding.texts):
            raise BackendFailed(UNREADABLE)
        return Vectors(array.tobytes(), count, dimensions, tokens)

    async def count(self, model: Model, generation: Generation, call: Call) -> int:
        """By an answer of one token: Ollama does not show its tokens."""
        return await count_by_generating(self, model, replace(generation, tools=None), call)


def _value_of(line: bytes) -> dict[str, Any]:
    value: dict[str, Any] = orjson.loads(line)
    if "error" in value:
        raise Refused(500, value)
    return value


def write_body(model: str, generation: Generation) -> dict[str, Any]:
    """The body of a streamed request. Raises InvalidRequest for what Ollama cannot honour."""
    body: dict[str, Any] = {"model": model, "stream": True, "options": _options(generation)}
    # else Ollama leaves out what does not fit, and nobody sees it
    body["truncate"] = generation.truncation is not None
    if generation.sampling.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": generation.sampling.logprobs}
    if generation.structure is not None:
        body["format"] = _format(generation.structure)
    prompt = generation.prompt
    if isinstance(prompt, Conversation):
        names = {call.id: call.name for one in prompt.messages for call in one.calls}
        images = iter(generation.images)
        body["messages"] = [_message(one, images, names) for one in prompt.messages]
        body |= _thinking(prompt)
        if generation.tools is not None and (tools := _tools(generation.tools)):
            body["tools"] = tools
    elif isinstance(prompt, Passage):
        body |= {"prompt": prompt.text}
        body |= {"raw": True} if prompt.suffix is None else {"suffix": prompt.suffix}
    else:
        unsupported("prompt", "ollama")
    return body


def _options(generation: Generation) -> dict[str, Any]:
    sampling = generation.sampling
    for name in (*(one for one in _ABSENT if getattr(sampling, one) is not None), *sampling.extras):
        unsupported(name, "ollama")
    if sampling.choices > 1:
        unsupported("n", "ollama")
    options = {
        theirs: value
        for ours, theirs in _OPTIONS.items()
        if (value := getattr(sampling, ours)) is not None
    }
    if sampling.stop:
        options["stop"] = [*sampling.stop]
    if generation.context_length is not None:
        options["num_ctx"] = generation.context_length
    return options


def _thinking(prompt: Conversation) -> dict[str, Any]:
    if prompt.effort is not None:
        return {"think": prompt.effort}
    options = dict(prompt.template_options or {})
    think = options.pop("enable_thinking", None)
    if options:
        unsupported("chat_template_kwargs", "ollama")
    return {} if think is None else {"think": think}


def _format(structure: Structure) -> Any:
    if structure.kind == "json_object":
        return "json"
    if structure.kind != "json":
        unsupported(structure.path, "ollama")
    return structure.value


def _tools(tools: Tools) -> list[dict[str, Any]]:
    if tools.choice == "none":
        return []
    if tools.choice != "auto":
        unsupported("tool_choice", "ollama")
    return [
        {
            "type": "function",
            "function": {
                "name": one.name,
                "description": one.description or "",
                "parameters": one.parameters,
            },
        }
        for one in tools.allowed
    ]


def _message(
    message: Message, images: Iterator[bytes], names: dict[str | None, str]
) -> dict[str, Any]:
    content, files = message.content, []
    if not isinstance(content, str):
        texts = [part.text for part in content if not isinstance(part, Image)]
        count = len(content) - len(texts)
        files = [base64.b64encode(next(images)).decode() for _ in range(count)]
        content = "\n".join(texts)
    written: dict[str, Any] = {"role": message.role, "content": content}
    if files:
        written["images"] = files
    if message.reasoning:
        written["thinking"] = message.reasoning
    if message.calls:
        written["tool_calls"] = [
            {"function": {"name": call.name, "arguments": orjson.loads(call.arguments or "{}")}}
            | ({"id": call.id} if call.id else {})
            for call in message.calls
        ]
    if message.role == "tool":
        written["tool_name"] = message.name or names.get(message.answers, "")
        if message.answers:
            written["tool_call_id"] = message.answers
    return written


def read_line(line: dict[str, Any], calls: int, tokens: int) -> tuple[Event, int]:
    """The event of one line after `calls` calls and `tokens` tokens, and how many calls it has."""
    said = line.get("message") or {}
    text = said.get("content") or line.get("response") or ""
    thought = said.get("thinking") or line.get("thinking") or None
    made = [
        {
            "index": calls + number,
            "id": call.get("id") or f"call_{calls + number}",
            "name": call["function"]["name"],
            "arguments": orjson.dumps(call["function"].get("arguments") or {}).decode(),
        }
        for number, call in enumerate(said.get("tool_calls") or ())
    ]
    reason = None
    if line.get("done"):
        reason = "length" if line.get("done_reason") == "length" else "stop"
        reason = "tool_calls" if reason == "stop" and calls + len(made) else reason
    counted = line.get("eval_count")
    event = Event(
        index=0,
        text=text,
        token_ids=[],
        finish_reason=reason,
        stop_reason=None,
        prompt_tokens=int(line.get("prompt_eval_count") or 0),
        cached_tokens=0,
        completion_tokens=tokens + bool(text or thought or made) if counted is None else counted,
        logprobs=[_token(one) for one in line.get("logprobs") or ()] or None,
        reasoning=thought,
        tool_calls=made or None,
    )
    return event, len(made)


def _token(one: dict[str, Any]) -> dict[str, Any]:
    top = [_token(other) for other in one.get("top_logprobs") or ()]
    raw = one.get("bytes") or list(str(one["token"]).encode())
    token = {"token": one["token"], "id": 0, "bytes": raw, "logprob": one["logprob"]}
    return token | {"top": top}
