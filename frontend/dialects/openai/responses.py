"""`POST /v1/responses`: request → canonical generation. Pure.

What a response continues comes from the store; until then a call is not `settled`. Tools that
OpenAI runs itself, files, prompts and conversations kept elsewhere are refused by name.
"""

from dataclasses import dataclass, replace
from typing import Any

from frontend.dialects.fields import Fields
from frontend.dialects.openai.items import Item, messages_of, read_items
from frontend.dialects.openai.sampling import (
    ANY_OBJECT,
    MAX_TOKENS,
    VERBOSITIES,
    engine_schema,
    read_sampling,
)
from frontend.dialects.tools import ToolUse, make_use, names_of, take_function, take_tools
from frontend.dialects.typed import make_generation, make_messages
from frontend.domain.generation import Conversation, Generation, ImageLink
from frontend.domain.structure import SchemaUse
from frontend.errors import InvalidRequest

_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
NAMES = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    **dict.fromkeys(("structured_outputs", "structured_outputs.json"), "text.format.schema"),
    "response_format": "text.format",
}
"""What the API calls fields that errors name as the contract does."""
_INCLUDES = ("message.output_text.logprobs", "reasoning.encrypted_content")


@dataclass(frozen=True, slots=True)
class ResponseCall:
    """A parsed request. `told` are the fields that a response repeats."""

    model: str
    items: list[Item]
    instructions: str | None
    generation: Generation
    stream: bool
    store: bool
    previous: str | None
    logprobs: bool
    told: dict[str, Any]
    images: tuple[ImageLink, ...] = ()

    def settled(self, history: list[Item]) -> "ResponseCall":
        """With the conversation before it. Raises InvalidRequest naming an item."""
        images: list[ImageLink] = []
        items = [*history, *self.items]
        messages = messages_of(items, images, len(history))
        if self.instructions:
            messages.insert(0, {"role": "system", "content": self.instructions})
        if not messages:
            raise InvalidRequest("'input' must not be empty", param="input")
        prompt = self.generation.prompt
        assert isinstance(prompt, Conversation)
        prompt = replace(prompt, messages=make_messages(messages))
        generation = replace(self.generation, prompt=prompt, param="input")
        return replace(self, items=items, generation=generation, images=tuple(images))


def parse_response(body: object, max_items: int) -> ResponseCall:
    """Raises InvalidRequest naming the field for anything that cannot be honoured."""
    fields = Fields(body)
    model = fields.text("model")
    if not model:
        raise fields.refuse("model", "is required", code="missing_required_parameter")
    items, instructions = read_items(fields, max_items), fields.text("instructions")
    told = _told(body)
    if fields.has("n"):
        fields.only("n", (1,), "a response is one answer")
    sampling = read_sampling(fields)
    if (limit := fields.integer("max_output_tokens", 1, MAX_TOKENS)) is not None:
        sampling["max_tokens"] = limit
    logprobs = _logprobs(fields, sampling)
    tools = _read_tools(fields)
    wanted_schemas, verbosity = _text(fields, sampling)
    schemas = (*tools.schemas, *wanted_schemas)
    prompt, reading = _reasoning(fields, verbosity)
    if tools.tools:
        prompt["tools"] = tools.tools
    stream, store = fields.boolean("stream") or False, fields.boolean("store")
    previous = fields.text("previous_response_id")
    _read_rest(fields)
    fields.finish()
    generation = make_generation(prompt, sampling, tools.reply | reading, schemas=schemas)
    return ResponseCall(
        model, items, instructions, generation, stream, store is not False, previous, logprobs,
        told,
    )  # fmt: skip


_TOLD: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "user": None,
}


def _told(body: Any) -> dict[str, Any]:
    """What a response repeats of its request: what was given, and defaults for the rest."""
    return {
        name: default if body.get(name) is None else body[name] for name, default in _TOLD.items()
    }


def _logprobs(fields: Fields, sampling: dict[str, Any]) -> bool:
    top = fields.integer("top_logprobs", 0, 20)
    include = fields.texts("include", 16) or []
    for one in include:
        if one not in _INCLUDES:
            known = ", ".join(map(repr, _INCLUDES))
            raise fields.refuse("include", f"holds {one[:60]!r}; supported: {known}")
    wanted = _INCLUDES[0] in include or bool(top)
    if wanted:
        sampling["logprobs"] = top or 0
    return wanted


def _read_tools(fields: Fields) -> ToolUse:
    tools = take_tools(fields, _tool)
    chosen = _choice(fields, tools)
    fields.only("max_tool_calls", (), "it bounds OpenAI's own tools, which are not here")
    return make_use(tools, chosen, fields.boolean("parallel_tool_calls"), "tools[{}].parameters")


def _tool(fields: Fields) -> dict[str, Any]:
    kind = fields.text("type")
    if kind != "function":
        raise fields.refuse(
            "type",
            f"is {str(kind)[:60]!r}; only 'function' tools, which the client runs, are supported",
            code="unsupported_tool",
        )
    told = take_function(fields, "parameters")
    fields.only("defer_loading", (False,), "tools are not searched")
    fields.finish()
    return told


def _choice(fields: Fields, tools: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """The choice as the engine takes it, and the tools that it leaves."""
    given = fields.take("tool_choice")
    if given in (None, "auto", "none"):
        return given or "auto", tools
    if not tools:
        raise fields.refuse("tool_choice", "is only allowed with 'tools'")
    if given == "required":
        return given, tools
    if not isinstance(given, dict):
        raise fields.refuse("tool_choice", "must be 'auto', 'none', 'required' or a function")
    choice = Fields(given, "tool_choice")
    if choice.choice("type", ("function", "allowed_tools")) == "function":
        name = _named(choice, tools)
        choice.finish()
        return {"name": name}, tools
    mode = choice.choice("mode", ("auto", "required")) or "auto"
    listed = choice.take("tools")
    if not isinstance(listed, list) or not listed:
        raise choice.refuse("tools", "must be a non-empty list of functions")
    allowed = set()
    for index, one in enumerate(listed):
        entry = Fields(one, f"tool_choice.tools[{index}]")
        entry.choice("type", ("function",))
        allowed.add(_named(entry, tools))
    choice.finish()
    return mode, [tool for tool in tools if tool["function"]["name"] in allowed]


def _named(choice: Fields, tools: list[dict[str, Any]]) -> str:
    name = choice.text("name")
    if name not in names_of(tools):
        raise choice.refuse("name", f"is {str(name)[:64]!r}, which is none of the 'tools'")
    return str(name)


def _text(fields: Fields, sampling: dict[str, Any]) -> tuple[tuple[SchemaUse, ...], str | None]:
    """Takes `text`: what its format asks for, and how much of it there is to be."""
    text = fields.inner("text")
    if text is None:
        return engine_schema(fields, sampling), None
    verbosity = text.choice("verbosity", VERBOSITIES)
    wanted = text.inner("format")
    text.finish()
    if wanted is None:
        schemas = engine_schema(fields, sampling)
    else:
        schemas = _format(fields, wanted, sampling)
    return schemas, None if verbosity == "medium" else verbosity


def _format(fields: Fields, wanted: Fields, sampling: dict[str, Any]) -> tuple[SchemaUse, ...]:
    """Puts what the format asks for into `sampling`; returns its schema."""
    kind = wanted.choice("type", ("text", "json_object", "json_schema"))
    if kind is None:
        raise wanted.refuse("type", "is required", code="missing_required_parameter")
    schema = None
    if kind == "json_schema":
        wanted.text("name"), wanted.text("description"), wanted.boolean("strict")
        schema = wanted.mapping("schema")
        if schema is None:
            raise wanted.refuse("schema", "is required", code="missing_required_parameter")
    wanted.finish()
    if kind == "text":
        return engine_schema(fields, sampling)
    if sampling.get("structured_outputs"):
        raise fields.refuse("text.format", "cannot be combined with 'structured_outputs'")
    if schema is None:
        sampling["structured_outputs"] = {"json_object": True}
        return (SchemaUse("text.format", ANY_OBJECT),)
    sampling["structured_outputs"] = {"json": schema}
    return (SchemaUse("text.format.schema", schema),)


def _reasoning(fields: Fields, verbosity: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the chat template is told, and what the reader of the reply."""
    options = fields.mapping("chat_template_kwargs") or {}
    if verbosity is not None:  # for templates that know it
        options = {"verbosity": verbosity, **options}
    wanted, prompt = fields.inner("reasoning"), dict[str, Any]()
    if wanted is not None:
        effort = wanted.choice("effort", _EFFORTS)
        for name in ("summary", "generate_summary"):
            wanted.only(name, ("auto",), "thoughts are told in full, as 'reasoning_text'")
        wanted.finish()
        if effort is not None:
            prompt["reasoning_effort"] = "xhigh" if effort == "max" else effort
            options = {"enable_thinking": effort != "none", **options}
    if not options:
        return prompt, {}
    return {**prompt, "chat_template_kwargs": options}, {"chat_template_kwargs": options}


def _read_rest(fields: Fields) -> None:
    """Fields that say who asks, change no answer, or cannot be honoured."""
    if fields.exhausted:
        return
    for name in ("user", "safety_identifier", "prompt_cache_key"):
        fields.text(name)
    _metadata(fields)
    if (options := fields.inner("stream_options")) is not None:
        options.only("include_obfuscation", (False,), "streams are not padded")
        options.finish()
    fields.only("service_tier", ("auto", "default"), "there is one tier")
    fields.only("truncation", ("disabled",), "what does not fit is refused")
    fields.only("background", (False,), "responses come when they are asked for")
    fields.only("conversation", (), "send 'previous_response_id'")
    fields.only("prompt", (), "there are no stored prompts; send 'instructions' and 'input'")
    fields.only("prompt_cache_retention", ("in_memory",), "caches live in memory")
    fields.only("context_management", (), "the context stays as it was sent")
    fields.only("moderation", (), "there is no moderation")


def _metadata(fields: Fields) -> None:
    given = fields.mapping("metadata") or {}
    if len(given) > 16 or not all(isinstance(value, str) for value in given.values()):
        raise fields.refuse("metadata", "must hold at most 16 texts")
