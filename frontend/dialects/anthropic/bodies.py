"""The bodies of `/v1/messages` and `/v1/messages/count_tokens`."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from frontend.dialects.anthropic.blocks import TextBlock
from frontend.dialects.anthropic.messages import Messages
from frontend.dialects.anthropic.tools import ToolBody, ToolChoice
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
    TopP,
    about,
)
from frontend.dialects.tools import MAX_TOOLS

MAX_EDITS = 16


class Thinking(Body, kw_only=True):
    """Whether the model reasons before it answers."""

    type: Annotated[Literal["enabled", "disabled", "adaptive"], about("Whether the model reasons.")]
    budget_tokens: Annotated[Positive | None, about("The maximum number of reasoning tokens.")] = (
        None
    )
    display: Annotated[
        Literal["summarized", "omitted"] | None, about("Whether the answer contains the reasoning.")
    ] = None


class OutputFormat(Body, kw_only=True):
    """The format that the answer must have."""

    type: Annotated[Literal["json_schema"] | None, about("Always 'json_schema'.")] = None
    schema: Annotated[Object, about("The JSON schema.")]


class OutputConfig(Body, kw_only=True):
    """The format and effort of the answer."""

    effort: Annotated[
        Literal["low", "medium", "high", "xhigh", "max"] | None,
        about("How much the model reasons before it answers."),
    ] = None
    format: Annotated[OutputFormat | None, about("The format that the answer must have.")] = None


class Edit(Open, kw_only=True):
    """A bound for the context's size."""

    type: Annotated[str, about("The edit's name.")]


EDITS = f"must be a list of at most {MAX_EDITS} edits"


class ContextManagement(Body, kw_only=True):
    """Limits on the context's size."""

    edits: Annotated[
        list[Edit] | None,
        about("Accepted. No edit is made, and the answer reports none.", says=EDITS),
    ] = None


class Metadata(Body, kw_only=True):
    """The end user."""

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
    tool_choice: Annotated[
        ToolChoice | None, about("Whether the model must call a function, and which.")
    ] = None
    thinking: Annotated[Thinking | None, about("Whether the model reasons before it answers.")] = (
        None
    )
    output_config: Annotated[OutputConfig | None, about("The format and effort of the answer.")] = (
        None
    )
    stream: Annotated[
        bool | None, about("Send the answer as server-sent events while it is generated.")
    ] = None
    context_management: Annotated[
        ContextManagement | None, about("Limits on the context's size.")
    ] = None
    metadata: Annotated[Metadata | None, about("The end user.")] = None
    cache_control: Annotated[Object | None, about("Accepted and not needed.")] = None
    service_tier: Annotated[
        Literal["auto", "standard_only"] | None,
        about("Accepted values only: there is one service tier.", reason="there is only one tier"),
    ] = None
    speed: Annotated[
        Literal["standard"] | None, about("There is one speed.", reason="there is only one speed")
    ] = None
    container: Annotated[
        Refused | None, about("Refused.", reason="containers are not available")
    ] = None
    mcp_servers: Annotated[
        Empty | None,
        about(
            "Refused.", reason="the gateway does not call MCP servers; pass their tools in 'tools'"
        ),
    ] = None
    inference_geo: Annotated[
        Literal["global", "not_available"] | None,
        about("There is one region.", reason="there is only one region"),
    ] = None


_StopList = Annotated[list[str], Meta(max_length=MAX_STOPS)]


class MessagesBody(CountBody, kw_only=True):
    """A conversation to be continued."""

    max_tokens: Annotated[Tokens, about("The maximum number of tokens to generate.")]
    temperature: Annotated[
        Fraction | None, about("Randomness. 0 always chooses the most likely token.")
    ] = None
    top_p: TopP = None
    top_k: Annotated[
        TokensOrNone | None, about("Sample from this many of the most likely tokens.")
    ] = None
    stop_sequences: Annotated[
        str | _StopList | None, about("Texts that end the answer. They are not part of it.")
    ] = None
