"""`POST /v1/messages` and `/v1/messages/count_tokens`: request → canonical generation.

Pure. What a served model cannot do (Anthropic's own tools, documents, containers) is refused by
name; `cache_control` is taken, because prefixes are cached without being asked.
"""

from dataclasses import dataclass
from typing import Any

from frontend.dialects.anthropic.blocks import read_messages, read_system
from frontend.dialects.fields import Fields
from frontend.dialects.openai.sampling import MAX_STOPS, MAX_TOKEN_ID, MAX_TOKENS
from frontend.dialects.tools import ToolUse, make_use, names_of, take_function, take_tools
from frontend.dialects.typed import make_generation
from frontend.domain.generation import Generation, ImageLink
from frontend.domain.models import Model
from frontend.domain.structure import SchemaUse
from frontend.errors import InvalidRequest

MAX_EDITS = 16
_EFFORTS = ("low", "medium", "high", "xhigh", "max")

_SCHEMA = "output_config.format.schema"
NAMES = {
    "reasoning_effort": "output_config.effort",
    "chat_template_kwargs": "thinking",
    "thinking_token_budget": "thinking.budget_tokens",
    "stop": "stop_sequences",
    **dict.fromkeys(("structured_outputs", "structured_outputs.json"), _SCHEMA),
    "response_format": "output_config.format",
}
"""What the API calls fields that errors name as the contract does."""


@dataclass(frozen=True, slots=True)
class MessagesCall:
    """A parsed request. `thinking`: the client insists on it."""

    model: str
    generation: Generation
    stream: bool
    stops: tuple[str, ...]
    images: tuple[ImageLink, ...]
    thinking: bool
    hide_thinking: bool
    manages_context: bool = False
    """The answer is to say which edits of the context were made: none."""


def parse_messages(body: object, max_messages: int, *, counting: bool = False) -> MessagesCall:
    """`counting`: nothing is to be written. Raises InvalidRequest naming the field."""
    fields = Fields(body)
    model = fields.text("model")
    if not model:
        raise fields.refuse("model", "is required", code="missing_required_parameter")
    images: list[ImageLink] = []
    messages = [*read_system(fields), *read_messages(fields, max_messages, images)]
    sampling = {} if counting else _sampling(fields)
    tools = _read_tools(fields)
    options, thinking, hidden = _thinking(fields, sampling)
    schemas = (*tools.schemas, *_output(fields, sampling, options))
    stream = fields.boolean("stream") or False
    managed = _context_management(fields)
    _refuse_what_is_missing(fields)
    fields.finish()
    prompt: dict[str, Any] = {"messages": messages, **options}
    if messages[-1]["role"] == "assistant":  # the model is to go on from there
        prompt |= {"add_generation_prompt": False, "continue_final_message": True}
    if tools.tools:
        prompt["tools"] = tools.tools
    reading = {name: options[name] for name in ("chat_template_kwargs",) if name in options}
    return MessagesCall(
        model,
        make_generation(prompt, sampling, tools.reply | reading, schemas=schemas),
        stream,
        tuple(sampling.get("stop", ())),
        tuple(images),
        thinking,
        hidden,
        managed,
    )


def check_abilities(call: MessagesCall, model: Model) -> None:
    """Raises InvalidRequest when the model does not think and the client insists on it."""
    if call.thinking and "reasoning" not in model.capabilities:
        raise InvalidRequest(
            f"'thinking' is not supported: the model '{model.name}' does not think apart; leave it"
            " out",
            param="thinking",
            code="model_not_supported",
        )


def _sampling(fields: Fields) -> dict[str, Any]:
    limit = fields.integer("max_tokens", 1, MAX_TOKENS)
    if limit is None:
        raise fields.refuse("max_tokens", "is required", code="missing_required_parameter")
    stops = fields.texts("stop_sequences", MAX_STOPS)
    if stops and any(not one.strip() for one in stops):
        raise fields.refuse("stop_sequences", "must hold more than blanks in each entry")
    found = {
        "max_tokens": limit,
        "temperature": fields.number("temperature", 0, 1),
        "top_p": fields.number("top_p", 0, 1) or None,
        "top_k": fields.integer("top_k", 0, MAX_TOKEN_ID) or None,
        "stop": stops or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _read_tools(fields: Fields) -> ToolUse:
    tools = take_tools(fields, _tool)
    choice, parallel = _choice(fields, names_of(tools))
    return make_use(tools, (choice, tools), parallel, "tools[{}].input_schema")


def _tool(fields: Fields) -> dict[str, Any]:
    kind = fields.text("type") or "custom"
    if kind != "custom":
        raise fields.refuse(
            "type", f"is {kind[:60]!r}; only 'custom' tools, which the client runs, are supported"
        )
    if not fields.has("input_schema"):
        raise fields.refuse("input_schema", "is required", code="missing_required_parameter")
    told = take_function(fields, "input_schema")
    for name in ("cache_control", "input_examples", "eager_input_streaming"):
        fields.take(name)  # hints that change no answer
    fields.finish()
    return told


def _choice(fields: Fields, names: list[str]) -> tuple[Any, bool | None]:
    """The choice as the engine takes it, and whether calls may be many."""
    choice = fields.inner("tool_choice")
    if choice is None:
        return "auto", None
    kind = choice.choice("type", ("auto", "any", "tool", "none"))
    if kind is None:
        raise choice.refuse("type", "is required", code="missing_required_parameter")
    single = choice.boolean("disable_parallel_tool_use")
    name = choice.text("name")
    choice.finish()
    if kind in ("any", "tool") and not names:
        raise fields.refuse("tool_choice", f"is {kind!r}, which needs 'tools'")
    if kind == "tool" and name not in names:
        raise choice.refuse("name", f"is {str(name)[:64]!r}, which is none of the 'tools'")
    chosen: Any = {"name": name} if kind == "tool" else {"any": "required"}.get(kind, kind)
    return chosen, None if single is None else not single


def _thinking(fields: Fields, sampling: dict[str, Any]) -> tuple[dict[str, Any], bool, bool]:
    """What the chat template is told; whether the client insists; whether it wants no thoughts."""
    wanted = fields.inner("thinking")
    if wanted is None:
        return {}, False, False
    kind = wanted.choice("type", ("enabled", "disabled", "adaptive"))
    if kind is None:
        raise wanted.refuse("type", "is required", code="missing_required_parameter")
    budget = wanted.integer("budget_tokens", 1)
    if kind == "enabled" and budget is None:
        raise wanted.refuse("budget_tokens", "is required", code="missing_required_parameter")
    limit = sampling.get("max_tokens")
    if kind == "enabled" and limit is not None and budget is not None and budget >= limit:
        raise wanted.refuse("budget_tokens", f"is {budget}, it must be below 'max_tokens', {limit}")
    hidden = wanted.choice("display", ("summarized", "omitted")) == "omitted"
    wanted.finish()
    if kind != "disabled" and budget is not None:
        sampling["thinking_token_budget"] = budget
    if kind == "adaptive":
        return {}, False, hidden
    options = {"chat_template_kwargs": {"enable_thinking": kind == "enabled"}}
    return options, kind == "enabled", hidden


def _output(
    fields: Fields, sampling: dict[str, Any], options: dict[str, Any]
) -> tuple[SchemaUse, ...]:
    """Takes `output_config`: a schema to be enforced, and effort."""
    config = fields.inner("output_config")
    if config is None:
        return ()
    if (effort := config.choice("effort", _EFFORTS)) is not None:
        options["reasoning_effort"] = "xhigh" if effort == "max" else effort
    wanted = config.inner("format")
    config.finish()
    if wanted is None:
        return ()
    wanted.choice("type", ("json_schema",))
    schema = wanted.mapping("schema")
    if schema is None:
        raise wanted.refuse("schema", "is required", code="missing_required_parameter")
    wanted.finish()
    sampling["structured_outputs"] = {"json": schema}
    return (SchemaUse(_SCHEMA, schema),)


def _context_management(fields: Fields) -> bool:
    """Takes `context_management`. Its edits are bounds for the context's size: this server makes
    none, and says so in its answer."""
    management = fields.inner("context_management")
    if management is None:
        return False
    edits = management.take("edits")
    edits = [] if edits is None else edits
    if not isinstance(edits, list) or len(edits) > MAX_EDITS:
        raise management.refuse("edits", f"must be a list of at most {MAX_EDITS} edits")
    for index, one in enumerate(edits):
        edit = Fields(one, management.at(f"edits[{index}]"))
        if not edit.text("type"):
            raise edit.refuse("type", "is required", code="missing_required_parameter")
    management.finish()
    return True


def _refuse_what_is_missing(fields: Fields) -> None:
    if fields.exhausted:
        return
    if (metadata := fields.inner("metadata")) is not None:
        metadata.text("user_id")
        metadata.finish()
    fields.mapping("cache_control")
    fields.only("service_tier", ("auto", "standard_only"), "there is one tier")
    fields.only("speed", ("standard",), "there is one speed")
    fields.only("container", (), "there are no containers")
    fields.only("mcp_servers", ([],), "the gateway calls no servers; pass their tools as 'tools'")
    fields.only("inference_geo", ("global", "not_available"), "there is one place")
