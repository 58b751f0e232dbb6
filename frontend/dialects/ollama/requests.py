"""`/api/chat` and `/api/generate`: request → canonical generation.

`format` is enforced by the engine; `think` goes to the chat template; templates come from the
operator alone.
"""

import base64
import binascii
from dataclasses import dataclass, replace
from typing import Any

import orjson

from frontend.dialects.fields import Fields, is_token_ids
from frontend.dialects.ollama.options import Options
from frontend.dialects.openai.sampling import ANY_OBJECT
from frontend.dialects.openai.tools import read_tools
from frontend.dialects.typed import make_generation
from frontend.domain.generation import Conversation, Generation, ImageLink, Truncation
from frontend.domain.models import Model
from frontend.domain.structure import SchemaUse
from frontend.errors import InvalidRequest

MAX_IMAGES = 64
_HEAD = 16  # characters of base64 that tell a file's format
_ROOM = 4
"""The part of the context that a shortened prompt leaves for its answer, at most."""
_ROLES = ("system", "user", "assistant", "tool")
NAMES = {
    "max_tokens": "options.num_predict",
    "repetition_penalty": "options.repeat_penalty",
    **{
        name: f"options.{name}"
        for name in (
            *("temperature", "top_p", "top_k", "min_p", "seed", "stop"),
            *("presence_penalty", "frequency_penalty"),
        )
    },
    **dict.fromkeys(("structured_outputs", "structured_outputs.json", "response_format"), "format"),
    "chat_template_kwargs": "think",
    "reasoning_effort": "think",
}
"""What Ollama calls fields that errors name as the contract does."""
_EFFORTS = ("low", "medium", "high", "max")


@dataclass(frozen=True, slots=True)
class OllamaCall:
    """A parsed request. Without a generation it asks to load (or, with `unload`, to unload)."""

    model: str
    generation: Generation | None
    stream: bool
    chat: bool
    options: Options
    unload: bool = False
    think: bool | None = None
    tools: bool = False
    images: tuple[ImageLink, ...] = ()
    tells_context: bool = False
    logprobs: bool = False
    drawing: "OllamaDrawing | None" = None
    truncate: bool = True


@dataclass(frozen=True, slots=True)
class OllamaDrawing:
    """`/api/generate` for an image model."""

    prompt: str
    width: int | None
    height: int | None
    steps: int | None
    seed: int | None


@dataclass(frozen=True, slots=True)
class _Parts:
    """What both requests share."""

    model: str
    options: Options
    stream: bool
    unload: bool
    think: bool | None
    logprobs: bool
    schemas: tuple[SchemaUse, ...]
    truncate: bool

    @property
    def sampling(self) -> dict[str, Any]:
        """The engine's parameters so far."""
        return self.options.sampling

    @property
    def template(self) -> dict[str, Any]:
        """What the chat template and the reader of the reply are told of thinking."""
        if self.think is None:
            return {}
        return {"chat_template_kwargs": {"enable_thinking": self.think}}


def parse_chat(body: object, max_messages: int) -> OllamaCall:
    """Raises InvalidRequest naming the field for anything that cannot be honoured."""
    fields = Fields(body)
    parts = _shared(fields)
    given = fields.take("messages") or []
    if not isinstance(given, list) or len(given) > max_messages:
        raise fields.refuse("messages", f"must be a list of at most {max_messages} messages")
    tools = read_tools(fields)
    fields.leave()  # Ollama ignores what it does not know
    images: list[ImageLink] = []
    messages = [_message(Fields(one, f"messages[{i}]"), images) for i, one in enumerate(given)]
    if not messages:
        return _loading(parts, chat=True)
    prompt: dict[str, Any] = {"messages": messages, **parts.template}
    if tools.tools:
        prompt["tools"] = tools.tools
    return OllamaCall(
        parts.model,
        make_generation(
            prompt,
            parts.sampling,
            tools.reply | parts.template,
            schemas=(*tools.schemas, *parts.schemas),
        ),
        parts.stream,
        chat=True,
        options=parts.options,
        think=parts.think,
        tools=bool(tools.tools),
        images=tuple(images),
        logprobs=parts.logprobs,
        truncate=parts.truncate,
    )


def parse_generate(body: object) -> OllamaCall:
    """Raises InvalidRequest naming the field for anything that cannot be honoured."""
    fields = Fields(body)
    parts = _shared(fields)
    text = fields.text("prompt") or ""
    suffix, system = fields.text("suffix"), fields.text("system")
    raw = fields.boolean("raw") or False
    fields.only("template", ("",), "templates come with the models")
    context = fields.take("context")
    if context is not None and not is_token_ids(context):
        raise fields.refuse("context", "must be the list of token ids of an earlier answer")
    images = _images(fields)
    drawing = OllamaDrawing(
        text,
        width=fields.integer("width", 1, 2**15),
        height=fields.integer("height", 1, 2**15),
        steps=fields.integer("steps", 1, 2**15),
        seed=parts.sampling.get("seed"),
    )
    fields.leave()
    if raw and (system or context):
        raise fields.refuse("raw", "cannot be combined with 'system' or 'context'")
    if images and (raw or suffix):  # the template is what says where they stand
        raise fields.refuse("images", "cannot be combined with 'raw' or 'suffix'")
    if not text and not images and not suffix:
        return _loading(parts, chat=False)
    if suffix or raw:
        asked = {"text": text, "suffix": suffix} if suffix else {"text": text}
        reply = {"infill": True} if suffix else None
        generation = make_generation(
            asked, parts.sampling, reply, param="prompt", schemas=parts.schemas
        )
    else:
        generation = _templated(parts, system, _content(text, images), context)
    return OllamaCall(
        parts.model,
        generation,
        parts.stream,
        chat=False,
        options=parts.options,
        think=parts.think,
        images=tuple(images),
        tells_context=isinstance(generation.prompt, Conversation),
        logprobs=parts.logprobs,
        drawing=drawing,
        truncate=parts.truncate,
    )


def _templated(
    parts: _Parts, system: str | None, content: object, context: list[int] | None
) -> Generation:
    messages = [{"role": "system", "content": system}] if system else []
    prompt: dict[str, Any] = {"messages": [*messages, {"role": "user", "content": content}]}
    if context:
        prompt["prefix_token_ids"] = context
    reply = {**parts.template, "prompt_token_ids": True}
    return make_generation(
        prompt | parts.template, parts.sampling, reply, param="prompt", schemas=parts.schemas
    )


def _shared(fields: Fields) -> _Parts:
    model = fields.text("model") or fields.text("name")
    if not model:
        raise fields.refuse("model", "is required")
    options = Options(fields.inner("options"))
    fields.boolean("shift")  # answers end where the context does
    return _Parts(
        model,
        options,
        stream=fields.boolean("stream") is not False,
        unload=_is_zero(fields.one_of_types("keep_alive", (int, float, str), "a duration")),
        think=_think(fields),
        logprobs=_logprobs(fields, options.sampling),
        schemas=_format(fields, options.sampling),
        truncate=fields.boolean("truncate") is not False,
    )


def _think(fields: Fields) -> bool | None:
    given = fields.one_of_types("think", (bool, str), "true, false or a level")
    if isinstance(given, str) and given not in _EFFORTS:
        raise fields.refuse("think", f"must be true, false or one of {', '.join(_EFFORTS)}")
    return None if given is None else bool(given)


def _logprobs(fields: Fields, sampling: dict[str, Any]) -> bool:
    wanted, top = fields.boolean("logprobs") or False, fields.integer("top_logprobs", 0, 20)
    if wanted:
        sampling["logprobs"] = top or 0
    elif top:
        raise fields.refuse("top_logprobs", "is only allowed with 'logprobs': true")
    return wanted


def _format(fields: Fields, sampling: dict[str, Any]) -> tuple[SchemaUse, ...]:
    given = fields.one_of_types("format", (str, dict), "'json' or a JSON schema")
    if given in (None, ""):
        return ()
    if given == "json":
        sampling["structured_outputs"] = {"json_object": True}
        return (SchemaUse("format", ANY_OBJECT),)
    if not isinstance(given, dict):
        raise fields.refuse("format", "must be 'json' or a JSON schema")
    sampling["structured_outputs"] = {"json": given}
    return (SchemaUse("format", given),)


def _is_zero(keep_alive: object) -> bool:
    """0 as a number, or as a duration such as "0", "0s" or "0h0m"."""
    if isinstance(keep_alive, str):
        return "0" in keep_alive and not keep_alive.strip("0.hmnus")
    return keep_alive == 0


def _loading(parts: _Parts, *, chat: bool) -> OllamaCall:
    return OllamaCall(parts.model, None, parts.stream, chat, parts.options, parts.unload)


def _message(fields: Fields, links: list[ImageLink]) -> dict[str, Any]:
    role = fields.choice("role", _ROLES)
    if role is None:
        raise fields.refuse("role", "is required")
    text = fields.text("content") or ""
    images = _images(fields)
    links += images
    message: dict[str, Any] = {"role": role, "content": _content(text, images)}
    calls = _calls(fields)
    if calls and role == "assistant":
        message["tool_calls"] = calls
    known = {
        "name": fields.text("tool_name") or fields.text("name"),
        "tool_call_id": fields.text("tool_call_id"),
        "reasoning_content": fields.text("thinking") if role == "assistant" else None,
    }
    fields.leave()
    return message | {name: value for name, value in known.items() if value}


def _calls(fields: Fields) -> list[dict[str, Any]]:
    given = fields.take("tool_calls") or []
    if not isinstance(given, list):
        raise fields.refuse("tool_calls", "must be a list")
    calls = []
    for index, one in enumerate(given):
        call = Fields(one, fields.at(f"tool_calls[{index}]"))
        function = call.inner("function")
        if function is None or not (name := function.text("name")):
            raise call.refuse("function.name", "is required")
        arguments = orjson.dumps(function.mapping("arguments") or {}).decode()
        told: dict[str, Any] = {"name": name, "arguments": arguments}
        calls.append({"type": "function", "function": told})
        if (call_id := call.text("id")) is not None:
            calls[-1]["id"] = call_id
    return calls


def _content(text: str, images: list[ImageLink]) -> str | list[dict[str, str]]:
    """The text, or parts for the template: images first, as Ollama's own templates have them."""
    if not images:
        return text
    shown = [{"type": "image"} for _ in images]
    return [*shown, {"type": "text", "text": text}] if text else shown


def _images(fields: Fields) -> list[ImageLink]:
    given = fields.take("images") or []
    if not isinstance(given, list) or len(given) > MAX_IMAGES:
        raise fields.refuse("images", f"must be a list of at most {MAX_IMAGES} images")
    links = []
    for index, one in enumerate(given):
        try:
            data = base64.b64decode(one[:_HEAD], validate=True)  # the rest where it is decoded
        except (binascii.Error, ValueError, TypeError):
            raise fields.refuse(f"images[{index}]", "is not base64") from None
        links.append(ImageLink(f"data:{_kind(data)};base64,{one}", fields.at(f"images[{index}]")))
    return links


def _kind(data: bytes) -> str:
    """The media type by the first bytes; the decoder has the last word."""
    marks = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))
    return next((f"image/{name}" for mark, name in marks if data.startswith(mark)), "image/png")


def check_abilities(call: OllamaCall, model: Model) -> None:
    """Raises InvalidRequest, in Ollama's words, for what the model cannot do."""
    wanted = (
        (call.tools, "tools", "tools"),
        (bool(call.think), "reasoning", "thinking"),
        (bool(call.images), "vision", "images"),
    )
    for asked, capability, word in wanted:
        if asked and capability not in model.capabilities:
            raise InvalidRequest(f'"{call.model}" does not support {word}', param=word)


def fit_context(call: OllamaCall, model: Model) -> OllamaCall:
    """The call within the context that `num_ctx` asks for, or the model has: a prompt that leaves
    no room is shortened unless `truncate` is false, and the answer ends where the context does."""
    limit = call.options.settle_context(model.context_length)
    if call.generation is None or limit is None:
        return call
    generation = call.generation
    asked = generation.sampling.max_tokens
    if asked is not None and asked >= limit:
        sampling = replace(generation.sampling, max_tokens=None)
        generation = replace(generation, sampling=sampling)
    if call.truncate:
        room = max(1, limit // _ROOM)
        cut = Truncation(reply=min(asked or room, room), keep=call.options.keep)
        generation = replace(generation, truncation=cut)
    if limit != model.context_length:
        generation = replace(generation, context_length=limit)
    return replace(call, generation=generation)
