"""`/api/chat` and `/api/generate`: request → canonical generation. Pure.

`format` is enforced by the engine; `think` goes to the chat template; templates come from the
operator only. Unknown fields are ignored, as Ollama ignores them.
"""

from dataclasses import dataclass, replace
from typing import Any

from frontend.dialects.declare import Object
from frontend.dialects.functions import (
    make_tools,
)
from frontend.dialects.ollama.bodies import ChatBody, GenerateBody, SharedBody
from frontend.dialects.ollama.messages import (
    make_content,
    make_messages,
    read_images,
)
from frontend.dialects.ollama.models import name_of
from frontend.dialects.ollama.options import Options, make_options, parse_keep_alive
from frontend.dialects.read import read as read_body
from frontend.dialects.refusal import refuse
from frontend.domain.generation import (
    Conversation,
    Generation,
    ImageLink,
    Passage,
    Reply,
    Truncation,
)
from frontend.domain.images import ImageRequest
from frontend.domain.messages import Message
from frontend.domain.models import Model
from frontend.domain.sampling import Sampling
from frontend.domain.structure import SchemaUse, Structure
from frontend.errors import InvalidRequest

_ANY_OBJECT: Object = {"type": "object"}
_ROOM = 4
"""The part of the context that a shortened prompt leaves for its answer, at most."""
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
    **dict.fromkeys(("structure", "structure.json", "structure.json_object"), "format"),
    "template_options": "think",
    "reasoning_effort": "think",
}
"""Ollama's names of fields, by their canonical names."""
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
    image: ImageRequest | None = None
    """What an image model is to generate."""
    truncate: bool = True


@dataclass(frozen=True, slots=True)
class _Parts:
    """The canonical parts of both kinds of request."""

    model: str
    options: Options
    sampling: Sampling
    structure: Structure | None
    schemas: tuple[SchemaUse, ...]
    think: bool | None

    @property
    def template(self) -> Object | None:
        """The options about reasoning, for the chat template and the parser of the reply."""
        return None if self.think is None else {"enable_thinking": self.think}


def parse_chat(body: object, max_messages: int) -> OllamaCall:
    """Raises InvalidRequest naming the field for anything that cannot be honoured."""
    given = read_body(ChatBody, body)
    parts = _parts(given, body)
    history = given.messages or []
    if len(history) > max_messages:
        raise refuse("messages", f"must be a list of at most {max_messages} messages")
    tools, tool_schemas = make_tools(given.tools, given.tool_choice, given.parallel_tool_calls)
    images: list[ImageLink] = []
    messages = make_messages(history, images)
    if not messages:
        return _loading(parts, given, chat=True)
    generation = Generation(
        Conversation(messages, parts.template),
        parts.sampling,
        Reply(template_options=parts.template),
        tools,
        parts.structure,
        schemas=(*tool_schemas, *parts.schemas),
    )
    return replace(
        _loading(parts, given, chat=True),
        generation=generation,
        unload=False,
        tools=tools is not None,
        images=tuple(images),
    )


def parse_generate(body: object) -> OllamaCall:
    """Raises InvalidRequest naming the field for anything that cannot be honoured."""
    given = read_body(GenerateBody, body)
    parts = _parts(given, body)
    images = read_images(given.images, "images")
    text, suffix, raw = given.prompt or "", given.suffix, bool(given.raw)
    if raw and (given.system or given.context):
        raise refuse(
            "raw",
            "cannot be combined with 'system' or 'context'; leave them out, or leave 'raw' out",
        )
    if images and (raw or suffix):  # the template is what says where they stand
        raise refuse(
            "images",
            "cannot be combined with 'raw' or 'suffix'; leave them out, or leave 'images' out",
        )
    loading = _loading(parts, given, chat=False)
    if not text and not images and not suffix:
        return loading
    generation = Generation(
        Passage(text, suffix or None) if suffix or raw else _talk(given, text, images, parts),
        parts.sampling,
        _reply(parts, suffix, raw),
        structure=parts.structure,
        param="prompt",
        schemas=parts.schemas,
    )
    return replace(
        loading,
        generation=generation,
        unload=False,
        images=tuple(images),
        tells_context=isinstance(generation.prompt, Conversation),
        image=ImageRequest(
            text,
            width=given.width,
            height=given.height,
            steps=given.steps,
            seed=parts.options.sampling.seed,
        ),
    )


def _talk(body: GenerateBody, text: str, images: list[ImageLink], parts: _Parts) -> Conversation:
    system = (Message("system", body.system),) if body.system else ()
    messages = (*system, Message("user", make_content(text, images)))
    return Conversation(messages, parts.template, prefix=body.context or ())


def _reply(parts: _Parts, suffix: str | None, raw: bool) -> Reply | None:
    if suffix:
        return Reply()
    return None if raw else Reply(template_options=parts.template, prompt_token_ids=True)


def _parts(given: SharedBody, body: Any) -> _Parts:
    model = name_of(given)
    options = make_options(given.options, body.get("options"))
    options.keep_s = parse_keep_alive(given.keep_alive)
    structure = _structure(given.format)
    schemas: tuple[SchemaUse, ...] = ()
    if structure is not None:
        schema = structure.value if structure.kind == "json" else _ANY_OBJECT
        schemas = (SchemaUse("format", schema),)
    sampling = replace(options.sampling, logprobs=_logprobs(given))
    return _Parts(model, options, sampling, structure, schemas, _think(given.think))


def _think(given: bool | str | None) -> bool | None:
    if isinstance(given, str) and given not in _EFFORTS:
        raise refuse("think", f"must be true, false or one of {', '.join(_EFFORTS)}")
    return None if given is None else bool(given)


def _logprobs(body: SharedBody) -> int | None:
    if body.logprobs:
        return body.top_logprobs or 0
    if body.top_logprobs:
        raise refuse("top_logprobs", "is only allowed with 'logprobs': true")
    return None


def _structure(given: str | Object | None) -> Structure | None:
    if given in (None, ""):
        return None
    if given == "json":
        return Structure("json_object", True, "format")
    if not isinstance(given, dict):
        raise refuse("format", "must be 'json' or a JSON schema")
    return Structure("json", given, "format")


def _loading(parts: _Parts, given: SharedBody, *, chat: bool) -> OllamaCall:
    """The call without a generation: it asks for the model to be there, or to go."""
    return OllamaCall(
        parts.model,
        None,
        given.stream is not False,
        chat,
        parts.options,
        unload=parts.options.keep_s == 0,
        think=parts.think,
        logprobs=bool(given.logprobs),
        truncate=given.truncate is not False,
    )


def check_abilities(call: OllamaCall, model: Model) -> None:
    """Raises InvalidRequest, in Ollama's words, for what the model cannot do."""
    requirements = (
        (call.tools, "tools", "tools"),
        (bool(call.think), "reasoning", "thinking"),
        (bool(call.images), "vision", "images"),
    )
    for required, capability, word in requirements:
        if required and capability not in model.capabilities:
            raise InvalidRequest(f'"{call.model}" does not support {word}', param=word)


def fit_context(call: OllamaCall, model: Model) -> OllamaCall:
    """Limits the call to the context of `num_ctx` or of the model: a prompt that is too long is
    shortened unless `truncate` is false, and the answer ends at the end of the context."""
    limit = call.options.resolve_context(model.context_length)
    if call.generation is None or limit is None:
        return call
    generation = call.generation
    requested = generation.sampling.max_tokens
    # Ollama accepts more than the context holds, where the engine would refuse the request
    if requested is not None and requested >= limit:
        sampling = replace(generation.sampling, max_tokens=None)
        generation = replace(generation, sampling=sampling)
    if call.truncate:
        # a prompt that fills the context would get one token as its answer (docs/decisions/0015)
        room = max(1, limit // _ROOM)
        cut = Truncation(reply=min(requested or room, room), keep=call.options.keep)
        generation = replace(generation, truncation=cut)
    if limit != model.context_length:
        generation = replace(generation, context_length=limit)
    return replace(call, generation=generation)
