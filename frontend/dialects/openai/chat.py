"""`POST /v1/chat/completions`: request → canonical generation. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

from frontend.dialects.declare import Object, Refused, Tokens, TopLogprobs, about
from frontend.dialects.functions import make_tools
from frontend.dialects.openai.formats import make_format
from frontend.dialects.openai.identity import check_model
from frontend.dialects.openai.message_body import ChatMessage
from frontend.dialects.openai.messages import make_messages
from frontend.dialects.openai.sampling import make_sampling
from frontend.dialects.openai.streaming import StreamOptions, make_stream_options
from frontend.dialects.openai.structure import names_of, schemas_of
from frontend.dialects.openai.tools import Calling
from frontend.dialects.read import read
from frontend.dialects.refusal import check_count, refuse
from frontend.domain.generation import Conversation, Generation, ImageLink, Reply

Verbosity = Literal["low", "medium", "high"]
_Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
_Messages = Annotated[list[ChatMessage], Meta(min_length=1)]
_TextOnly = Annotated[list[Literal["text"]], Meta(min_length=1, max_length=1)]


class ChatBody(Calling, kw_only=True):
    """A conversation to be continued."""

    messages: Annotated[
        _Messages,
        about("The conversation so far.", says="must be a list of at least one message"),
    ]
    max_completion_tokens: Annotated[
        Tokens | None, about("The token limit. Default: the rest of the context.")
    ] = None
    max_tokens: Annotated[Tokens | None, about("An older name of max_completion_tokens.")] = None
    logprobs: Annotated[bool | None, about("Return log probabilities of the answer's tokens.")] = (
        None
    )
    top_logprobs: Annotated[
        TopLogprobs | None,
        about("With logprobs: the number of alternatives to return for each token."),
    ] = None
    chat_template_kwargs: Annotated[
        Object | None, about("Variables of the model's chat template.")
    ] = None
    reasoning_effort: Annotated[
        _Effort | None, about("How much the model reasons before it answers.")
    ] = None
    verbosity: Annotated[
        Verbosity | None, about("How long answers are, if the model's chat template supports it.")
    ] = None
    add_generation_prompt: Annotated[
        bool | None, about("Add the start of the model's turn after the messages. Default: true.")
    ] = None
    continue_final_message: Annotated[
        bool | None, about("Continue the last message instead of answering it.")
    ] = None
    include_reasoning: Annotated[
        bool | None, about("Whether reasoning is part of the answer. Default: true.")
    ] = None
    modalities: Annotated[
        _TextOnly | None, about("Only text.", reason="models answer with text only")
    ] = None
    audio: Annotated[Refused | None, about("Refused.", reason="models answer with text only")] = (
        None
    )
    prediction: Annotated[
        Refused | None, about("Refused.", reason="predicted outputs are not available")
    ] = None
    web_search_options: Annotated[
        Refused | None, about("Refused.", reason="web search is not available")
    ] = None
    prompt_cache_retention: Annotated[
        Literal["in_memory"] | None,
        about("Caches are in memory.", reason="prompts are cached in memory only"),
    ] = None
    moderation: Annotated[
        Refused | None, about("Refused.", reason="moderation is not available")
    ] = None


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A parsed chat request."""

    model: str
    generation: Generation
    n: int
    stream: bool
    stream_options: StreamOptions
    logprobs: bool
    user: str | None
    images: tuple[ImageLink, ...] = ()
    token_ids: bool = False
    """Whether the answer has them beside its text."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The caller's names of fields, by their canonical names."""


def parse_chat(body: object, max_messages: int) -> ChatCall:
    """Raises InvalidRequest naming the field for anything that cannot be honoured."""
    given = read(ChatBody, body)
    check_model(given)
    check_count("messages", given.messages, max_messages)
    images: list[ImageLink] = []
    messages = make_messages(given.messages, images)
    stream_options = make_stream_options(given)
    sampling = make_sampling(given, max_tokens=_max_tokens(given), logprobs=_logprobs(given))
    tools, tool_schemas = make_tools(given.tools, given.tool_choice, given.parallel_tool_calls)
    structure = make_format(given)
    prompt, reply = _template(given, messages)
    generation = Generation(
        prompt,
        sampling,
        reply,
        tools,
        structure,
        schemas=(*tool_schemas, *schemas_of(structure)),
        cache_salt=given.cache_salt,
        session=given.prompt_cache_key,
    )
    return ChatCall(
        given.model,
        generation,
        sampling.choices,
        bool(given.stream),
        stream_options,
        bool(given.logprobs),
        given.user,
        tuple(images),
        bool(given.return_token_ids),
        _names(given, generation),
    )


def _names(body: ChatBody, generation: Generation) -> dict[str, str]:
    names = names_of(generation.structure)
    if body.max_completion_tokens is not None:
        names["max_tokens"] = "max_completion_tokens"
    return names


def _template(body: ChatBody, messages: Any) -> tuple[Conversation, Reply]:
    """The options of the chat template, and those for reading the reply that follow from them."""
    options, effort = body.chat_template_kwargs, body.reasoning_effort
    if body.verbosity not in (None, "medium"):  # for templates that know it
        options = {"verbosity": body.verbosity, **(options or {})}
    prompt = Conversation(
        messages, options, effort, body.add_generation_prompt, body.continue_final_message
    )
    if effort is not None:
        # the caller's own variables win over what the effort means
        options = {"enable_thinking": effort != "none", **(options or {})}
    reply = Reply(
        template_options=options or None,
        reasoning=body.include_reasoning,
        prompt_token_ids=bool(body.return_token_ids),
    )
    return prompt, reply


def _max_tokens(body: ChatBody) -> int | None:
    modern, legacy = body.max_completion_tokens, body.max_tokens
    if modern is not None and legacy is not None and modern != legacy:
        raise refuse("max_tokens", "contradicts 'max_completion_tokens'; send one of them")
    return modern if modern is not None else legacy


def _logprobs(body: ChatBody) -> int | None:
    if body.logprobs:
        return body.top_logprobs or 0
    if body.top_logprobs is not None:
        raise refuse("top_logprobs", "is only allowed with 'logprobs': true")
    return None
