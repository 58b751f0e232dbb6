"""`POST /v1/messages` and `/v1/messages/count_tokens`: request → canonical generation.

Pure. What a served model cannot do (Anthropic's own tools, documents, containers) is refused by
name; `cache_control` is taken, because prefixes are cached without being asked.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from frontend.dialects.anthropic.blocks import TextBlock
from frontend.dialects.anthropic.messages import Messages, check_any, make_messages, make_system
from frontend.dialects.anthropic.tools import ToolBody, ToolChoice, make_tools
from frontend.dialects.declare import (
    MAX_STOPS,
    Body,
    Empty,
    Fraction,
    Object,
    Open,
    Positive,
    Refused,
    Tokens,
    TokensOrNone,
    about,
)
from frontend.dialects.read import check_count, listed, read, refuse, require
from frontend.dialects.tools import MAX_TOOLS
from frontend.domain.generation import Conversation, Generation, ImageLink, Reply
from frontend.domain.models import Model
from frontend.domain.sampling import Sampling
from frontend.domain.structure import SchemaUse, Structure
from frontend.errors import InvalidRequest

MAX_EDITS = 16
_SCHEMA = "output_config.format.schema"
NAMES = {
    "reasoning_effort": "output_config.effort",
    "chat_template_kwargs": "thinking",
    "thinking_token_budget": "thinking.budget_tokens",
    "stop": "stop_sequences",
    **dict.fromkeys(("structured_outputs", "structured_outputs.json"), _SCHEMA),
    "response_format": "output_config.format",
}
"""What the API calls the fields that errors name as the engine does."""


class Thinking(Body, kw_only=True):
    """Whether the model reasons before it answers."""

    type: Annotated[Literal["enabled", "disabled", "adaptive"], about("Whether it reasons.")]
    budget_tokens: Annotated[Positive | None, about("The most tokens of reasoning.")] = None
    display: Annotated[
        Literal["summarized", "omitted"] | None, about("Whether the answer has the reasoning.")
    ] = None


class OutputFormat(Body, kw_only=True):
    """What the answer must match."""

    type: Annotated[Literal["json_schema"] | None, about("Always 'json_schema'.")] = None
    schema: Annotated[Object, about("The JSON schema.")]


class OutputConfig(Body, kw_only=True):
    """What the answer is like."""

    effort: Annotated[
        Literal["low", "medium", "high", "xhigh", "max"] | None,
        about("How much the model reasons."),
    ] = None
    format: Annotated[OutputFormat | None, about("What the answer must match.")] = None


class Edit(Open, kw_only=True):
    """A bound for the context's size."""

    type: Annotated[str, about("The edit's name.")]


_EDITS = f"must be a list of at most {MAX_EDITS} edits"


class ContextManagement(Body, kw_only=True):
    """Bounds for the context's size."""

    edits: Annotated[
        list[Edit] | None, about("Accepted. No edit is made, and the answer says so.", says=_EDITS)
    ] = None


class Metadata(Body, kw_only=True):
    """Who asks."""

    user_id: Annotated[str | None, about("An identifier of your end user.")] = None


_Tools = Annotated[list[ToolBody], Meta(max_length=MAX_TOOLS)]


class CountBody(Body, kw_only=True):
    """A conversation whose tokens are counted."""

    model: Annotated[str, about("The model's name, as GET /v1/models lists it.")]
    messages: Annotated[
        Messages,
        about("The conversation so far."),
    ]
    system: Annotated[
        str | list[Any] | None,
        about(
            "Instructions before the conversation.",
            says="must be a string or a list of text blocks",
            shown_as=(str, list[TextBlock]),
        ),
    ] = None
    tools: Annotated[
        _Tools | None, about("Functions that the model may call.", says="must be a list of tools")
    ] = None
    tool_choice: Annotated[ToolChoice | None, about("Whether and what the model must call.")] = None
    thinking: Annotated[Thinking | None, about("Whether the model reasons before it answers.")] = (
        None
    )
    output_config: Annotated[OutputConfig | None, about("What the answer is like.")] = None
    stream: Annotated[
        bool | None, about("Send the answer as server-sent events while it is generated.")
    ] = None
    context_management: Annotated[
        ContextManagement | None, about("Bounds for the context's size.")
    ] = None
    metadata: Annotated[Metadata | None, about("Who asks.")] = None
    cache_control: Annotated[Object | None, about("Accepted and not needed.")] = None
    service_tier: Annotated[
        Literal["auto", "standard_only"] | None,
        about("There is one service tier.", reason="there is one tier"),
    ] = None
    speed: Annotated[
        Literal["standard"] | None, about("There is one speed.", reason="there is one speed")
    ] = None
    container: Annotated[Refused | None, about("Refused.", reason="there are no containers")] = None
    mcp_servers: Annotated[
        Empty | None,
        about("Refused.", reason="the gateway calls no servers; pass their tools as 'tools'"),
    ] = None
    inference_geo: Annotated[
        Literal["global", "not_available"] | None,
        about("There is one region.", reason="there is one region"),
    ] = None


_StopList = Annotated[list[str], Meta(max_length=MAX_STOPS)]


class MessagesBody(CountBody, kw_only=True):
    """A conversation to be continued."""

    max_tokens: Annotated[Tokens, about("The most tokens to generate.")]
    temperature: Annotated[
        Fraction | None, about("Randomness. 0 always takes the likeliest token.")
    ] = None
    top_p: Annotated[
        Fraction | None, about("Samples from the likeliest tokens that have this probability.")
    ] = None
    top_k: Annotated[
        TokensOrNone | None, about("Samples from so many of the likeliest tokens.")
    ] = None
    stop_sequences: Annotated[
        str | _StopList | None, about("Texts that end the answer. They are not part of it.")
    ] = None


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
    check_any(body)
    given = read(CountBody if counting else MessagesBody, body)
    if not given.model:
        raise require("model")
    check_count("messages", given.messages, max_messages)
    images: list[ImageLink] = []
    messages = (*make_system(given.system), *make_messages(given.messages, images))
    if isinstance(given, MessagesBody):
        sampling = _sampling(given)
    else:
        sampling = Sampling(thinking_budget=_budget(given, None))
    tools, tool_schemas = make_tools(given.tools, given.tool_choice)
    structure, schemas = _structure(given.output_config)
    wanted = given.thinking
    options = None
    if wanted is not None and wanted.type != "adaptive":
        options = {"enable_thinking": wanted.type == "enabled"}
    on = messages[-1].role == "assistant"  # the model is to go on from there
    prompt = Conversation(
        messages, options, _effort(given), False if on else None, True if on else None
    )
    _check_edits(given.context_management)
    return MessagesCall(
        given.model,
        Generation(
            prompt,
            sampling,
            Reply(options=options),
            tools,
            structure,
            schemas=(*tool_schemas, *schemas),
        ),
        bool(given.stream),
        tuple(sampling.stop or ()),
        tuple(images),
        wanted is not None and wanted.type == "enabled",
        wanted is not None and wanted.display == "omitted",
        given.context_management is not None,
    )


def check_abilities(call: MessagesCall, model: Model) -> None:
    """Raises InvalidRequest when the model does not reason and the client insists on it."""
    if call.thinking and "reasoning" not in model.capabilities:
        raise InvalidRequest(
            f"'thinking' is not supported: the model '{model.name}' does not reason separately;"
            " leave it out",
            param="thinking",
            code="model_not_supported",
        )


def _sampling(body: MessagesBody) -> Sampling:
    stops = listed(body.stop_sequences)
    if any(not one.strip() for one in stops):
        raise refuse("stop_sequences", "must not have entries that are blank")
    return Sampling(
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        top_p=body.top_p or None,
        top_k=body.top_k or None,
        stop=stops or None,
        thinking_budget=_budget(body, body.max_tokens),
    )


def _budget(body: CountBody, limit: int | None) -> int | None:
    wanted = body.thinking
    if wanted is None or wanted.type == "disabled":
        return None
    budget, at = wanted.budget_tokens, "thinking.budget_tokens"
    if wanted.type == "enabled" and budget is None:
        raise require(at)
    if wanted.type != "enabled" or budget is None or limit is None:
        return budget
    if budget >= limit:
        raise refuse(at, f"is {budget}, it must be below 'max_tokens', {limit}")
    return budget


def _effort(body: CountBody) -> str | None:
    effort = None if body.output_config is None else body.output_config.effort
    return "xhigh" if effort == "max" else effort


def _structure(
    config: OutputConfig | None,
) -> tuple[Structure | None, tuple[SchemaUse, ...]]:
    if config is None or config.format is None:
        return None, ()
    schema = config.format.schema
    return Structure("json", schema, _SCHEMA), (SchemaUse(_SCHEMA, schema),)


def _check_edits(management: ContextManagement | None) -> None:
    """Edits are bounds for the context's size: this server makes none, and its answer says so."""
    edits = [] if management is None else management.edits or []
    if len(edits) > MAX_EDITS:
        raise refuse("context_management.edits", _EDITS)
    for index, edit in enumerate(edits):
        if not edit.type:
            raise require(f"context_management.edits[{index}].type")
