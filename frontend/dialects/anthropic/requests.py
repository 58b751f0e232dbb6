"""`POST /v1/messages` and `/v1/messages/count_tokens`: request → canonical generation.

Pure. Features that served models do not have (Anthropic's own tools, documents, containers) are
refused by name; `cache_control` is accepted, because prefixes are always cached.
"""

from dataclasses import dataclass

from frontend.dialects.anthropic.bodies import (
    EDITS,
    MAX_EDITS,
    ContextManagement,
    CountBody,
    MessagesBody,
    OutputConfig,
)
from frontend.dialects.anthropic.messages import check_any, make_messages, make_system
from frontend.dialects.anthropic.tools import make_tools
from frontend.dialects.read import listed, read
from frontend.dialects.refusal import check_count, refuse, require
from frontend.domain.generation import Conversation, Generation, ImageLink, Reply
from frontend.domain.models import Model
from frontend.domain.sampling import Sampling
from frontend.domain.structure import SchemaUse, Structure
from frontend.errors import InvalidRequest

_SCHEMA = "output_config.format.schema"
NAMES = {
    "reasoning_effort": "output_config.effort",
    "template_options": "thinking",
    "thinking_budget": "thinking.budget_tokens",
    "stop": "stop_sequences",
    **dict.fromkeys(("structure", "structure.json"), _SCHEMA),
}
"""The API's names of fields, by their canonical names."""


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
    """`counting`: only tokens are counted. Raises InvalidRequest naming the field."""
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
    thinking = given.thinking
    options = None
    # 'adaptive' leaves it to the template
    if thinking is not None and thinking.type != "adaptive":
        options = {"enable_thinking": thinking.type == "enabled"}
    on = messages[-1].role == "assistant"  # the model continues from there
    prompt = Conversation(
        messages, options, _effort(given), False if on else None, True if on else None
    )
    _check_edits(given.context_management)
    return MessagesCall(
        given.model,
        Generation(
            prompt,
            sampling,
            Reply(template_options=options),
            tools,
            structure,
            schemas=(*tool_schemas, *schemas),
        ),
        bool(given.stream),
        tuple(sampling.stop or ()),
        tuple(images),
        thinking is not None and thinking.type == "enabled",
        thinking is not None and thinking.display == "omitted",
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
    # the API refuses texts of whitespace only
    if any(not one.strip() for one in stops):
        raise refuse("stop_sequences", "must not contain blank entries")
    top_p, top_k = body.top_p, body.top_k or None
    if top_p == 0:  # engines do not allow it: only the likeliest token is left
        top_p, top_k = None, 1
    return Sampling(
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        top_p=top_p,
        top_k=top_k,
        stop=stops or None,
        thinking_budget=_budget(body, body.max_tokens),
    )


def _budget(body: CountBody, limit: int | None) -> int | None:
    thinking = body.thinking
    if thinking is None or thinking.type == "disabled":
        return None
    budget, at = thinking.budget_tokens, "thinking.budget_tokens"
    if thinking.type == "enabled" and budget is None:
        raise require(at)
    if thinking.type != "enabled" or budget is None or limit is None:
        return budget
    if budget >= limit:
        raise refuse(at, f"is {budget}; it must be below 'max_tokens', {limit}")
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
        raise refuse("context_management.edits", EDITS)
    for index, edit in enumerate(edits):
        if not edit.type:
            raise require(f"context_management.edits[{index}].type")
