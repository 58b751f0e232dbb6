"""The body of `/v1/responses`."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from frontend.dialects.declare import (
    Body,
    Object,
    Off,
    Refused,
    Tokens,
    TopLogprobs,
    about,
)
from frontend.dialects.openai.chat import Verbosity
from frontend.dialects.openai.response_tools import ResponseChoice, ResponseTool
from frontend.dialects.openai.sampling import Sampled
from frontend.dialects.tools import MAX_TOOLS

_Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
_Only = Annotated[int, Meta(ge=1, le=1)]
_Includes = str | Annotated[list[str], Meta(max_length=16)]
_Tools = Annotated[list[ResponseTool], Meta(max_length=MAX_TOOLS)]
_INPUT = "must be a string or a list of items"


class ResponseTextFormat(Body, tag_field="type", tag="text"):
    """Any text."""


class ResponseObjectFormat(Body, tag_field="type", tag="json_object"):
    """Any JSON object."""


class ResponseSchemaFormat(Body, tag_field="type", tag="json_schema", kw_only=True):
    """JSON that matches a schema."""

    name: Annotated[str | None, about("The schema's name.")] = None
    description: Annotated[str | None, about("What the answer is for.")] = None
    strict: Annotated[bool | None, about("Accepted: the schema is always enforced.")] = None
    schema: Annotated[Object, about("The JSON schema.")]


class TextOptions(Body, kw_only=True):
    """The format and length of the answer."""

    format: Annotated[
        ResponseTextFormat | ResponseObjectFormat | ResponseSchemaFormat | None,
        about("The format that the answer must have."),
    ] = None
    verbosity: Annotated[
        Verbosity | None, about("How long answers are, if the model's chat template supports it.")
    ] = None


_IN_FULL = "reasoning is sent in full, as 'reasoning_text'"


class Reasoning(Body, kw_only=True):
    """How the model reasons before it answers."""

    effort: Annotated[_Effort | None, about("How much the model reasons before it answers.")] = None
    summary: Annotated[
        Literal["auto"] | None, about("Reasoning is not summarized.", reason=_IN_FULL)
    ] = None
    generate_summary: Annotated[
        Literal["auto"] | None, about("Reasoning is not summarized.", reason=_IN_FULL)
    ] = None


class ResponseStreamOptions(Body, kw_only=True):
    """Options of the stream."""

    include_obfuscation: Annotated[
        Off | None, about("Only false: streams are not padded.", reason="streams are not padded")
    ] = None


class ResponseBody(Sampled, kw_only=True):
    """A conversation to be continued and stored."""

    input: Annotated[
        str | list[Any] | None,
        about("A text, or the items of a conversation.", says=_INPUT, shown_as=(str, list[Object])),
    ] = None
    instructions: Annotated[str | None, about("Instructions before the conversation.")] = None
    n: Annotated[_Only | None, about("Only 1.", reason="a response is one answer")] = None
    max_output_tokens: Annotated[
        Tokens | None, about("The maximum number of tokens to generate.")
    ] = None
    top_logprobs: Annotated[
        TopLogprobs | None,
        about("Return log probabilities of each token and of this many alternatives."),
    ] = None
    include: Annotated[_Includes | None, about("What else the response contains.")] = None
    tools: Annotated[
        _Tools | None, about("Functions that the model may call.", says="must be a list of tools")
    ] = None
    tool_choice: Annotated[
        Literal["auto", "none", "required"] | ResponseChoice | None,
        about(
            "Whether the model must call a function, and which.",
            says="must be 'auto', 'none', 'required' or a function",
        ),
    ] = None
    max_tool_calls: Annotated[
        Refused | None,
        about("Refused.", reason="it limits OpenAI's own tools, which are not available here"),
    ] = None
    parallel_tool_calls: Annotated[
        bool | None, about("Whether one answer may have several calls.")
    ] = None
    text: Annotated[TextOptions | None, about("The format and length of the answer.")] = None
    reasoning: Annotated[Reasoning | None, about("How the model reasons before it answers.")] = None
    chat_template_kwargs: Annotated[
        Object | None, about("Variables of the model's chat template.")
    ] = None
    stream: Annotated[
        bool | None, about("Send the answer as server-sent events while it is generated.")
    ] = None
    stream_options: Annotated[ResponseStreamOptions | None, about("Options of the stream.")] = None
    store: Annotated[
        bool | None, about("Keep the response for previous_response_id. Default: true.")
    ] = None  # type: ignore[assignment]
    previous_response_id: Annotated[
        str | None, about("The id of the response that this one continues.")
    ] = None
    truncation: Annotated[
        Literal["disabled"] | None,
        about("Long conversations are refused.", reason="long conversations are not shortened"),
    ] = None
    background: Annotated[
        Off | None, about("Only false.", reason="responses are generated while the client waits")
    ] = None
    conversation: Annotated[
        Refused | None, about("Refused.", reason="send 'previous_response_id'")
    ] = None
    prompt: Annotated[
        Refused | None,
        about("Refused.", reason="there are no stored prompts; send 'instructions' and 'input'"),
    ] = None
    prompt_cache_retention: Annotated[
        Literal["in_memory"] | None,
        about("Caches are in memory.", reason="prompts are cached in memory only"),
    ] = None
    context_management: Annotated[
        Refused | None, about("Refused.", reason="the context is never edited")
    ] = None
    moderation: Annotated[
        Refused | None, about("Refused.", reason="moderation is not available")
    ] = None
