"""`POST /tokenize` and `/detokenize` in vLLM's shapes. Pure.

A request has a `prompt` or `messages`; its model may be omitted if only one is served.
"""

from dataclasses import dataclass
from typing import Annotated

import orjson
from msgspec import Meta

from frontend.dialects.declare import MAX_TOKEN_ID, Body, Object, Refused, TokenId, about
from frontend.dialects.functions import TOOLS, ToolList, make_tools
from frontend.dialects.openai.message_body import ChatMessage
from frontend.dialects.openai.messages import make_messages
from frontend.dialects.read import read
from frontend.dialects.refusal import check_count, refuse, require
from frontend.domain.generation import Conversation, Generation, ImageLink, Passage, Tokenized
from frontend.domain.models import Model

_MODEL = about("The model's name. Default: the only one that can do it.")
_OWN_TEMPLATE = "the model's own chat template is used"
_TEXT_ONLY = "only text is tokenized"


class TokenizeBody(Body, kw_only=True):
    """A text or a conversation to be tokenized."""

    model: Annotated[str | None, _MODEL] = None
    prompt: Annotated[str | None, about("The text, if there are no messages.")] = None
    messages: Annotated[
        Annotated[list[ChatMessage], Meta(min_length=1)] | None,
        about(
            "The conversation, for the model's chat template.",
            says="must be a list of at least one message",
        ),
    ] = None
    add_special_tokens: Annotated[
        bool | None,
        about("The tokenizer adds its special tokens. Default: true for 'prompt' only."),
    ] = None
    return_token_strs: Annotated[
        bool | None, about("Also return the vocabulary's string of each token.")
    ] = None
    add_generation_prompt: Annotated[
        bool | None, about("Add the start of the model's turn after the messages. Default: true.")
    ] = None
    continue_final_message: Annotated[
        bool | None, about("Leave the last message open, so that the model continues it.")
    ] = None
    chat_template_kwargs: Annotated[
        Object | None, about("Variables of the model's chat template.")
    ] = None
    tools: Annotated[ToolList | None, TOOLS] = None
    chat_template: Annotated[Refused | None, about("Refused.", reason=_OWN_TEMPLATE)] = None
    mm_processor_kwargs: Annotated[Refused | None, about("Refused.", reason=_TEXT_ONLY)] = None
    media_io_kwargs: Annotated[Refused | None, about("Refused.", reason=_TEXT_ONLY)] = None


class DetokenizeBody(Body, kw_only=True):
    """Token ids to be turned into text."""

    model: Annotated[str | None, _MODEL] = None
    tokens: Annotated[
        list[TokenId],
        about("The token ids.", says=f"must be a list of integers from 0 to {MAX_TOKEN_ID}"),
    ]


@dataclass(frozen=True, slots=True)
class TokenizeCall:
    """A parsed request. `model` of None: the only one."""

    model: str | None
    generation: Generation
    strings: bool

    @property
    def capability(self) -> str:
        """The capability that its model needs."""
        return "chat" if isinstance(self.generation.prompt, Conversation) else "completion"


@dataclass(frozen=True, slots=True)
class DetokenizeCall:
    """A parsed request. `model` of None: the only one."""

    model: str | None
    ids: list[int]


def parse_tokenize(body: object, max_messages: int) -> TokenizeCall:
    """Raises InvalidRequest naming the field for anything that cannot be honoured."""
    given = read(TokenizeBody, body)
    if given.prompt is not None and given.messages is not None:
        raise refuse("prompt", "and 'messages' cannot be combined; send one of them")
    strings = bool(given.return_token_strs)
    if given.messages is not None:
        return TokenizeCall(given.model, _conversation(given, max_messages), strings)
    if given.prompt is None:
        raise require("prompt")
    for name in (
        "add_generation_prompt",
        "continue_final_message",
        "chat_template_kwargs",
        "tools",
    ):
        if getattr(given, name):
            raise refuse(name, "is only allowed with 'messages'")
    passage = Passage(given.prompt, special_tokens=given.add_special_tokens)
    return TokenizeCall(given.model, Generation(passage, param="prompt"), strings)


def _conversation(body: TokenizeBody, max_messages: int) -> Generation:
    assert body.messages is not None
    check_count("messages", body.messages, max_messages)
    if body.continue_final_message and body.add_generation_prompt:
        raise refuse(
            "add_generation_prompt",
            "and 'continue_final_message' cannot be combined; send one of them",
        )
    images: list[ImageLink] = []
    messages = make_messages(body.messages, images)
    if images:
        raise refuse(images[0].path, f"is an image; {_TEXT_ONLY}", code="unsupported_content")
    tools, _ = make_tools(body.tools, None, None)
    prompt = Conversation(
        messages,
        body.chat_template_kwargs,
        opened=body.add_generation_prompt,
        continued=body.continue_final_message,
        special_tokens=body.add_special_tokens,
    )
    return Generation(prompt, tools=tools)


def parse_detokenize(body: object) -> DetokenizeCall:
    """Raises InvalidRequest naming the field."""
    given = read(DetokenizeBody, body)
    return DetokenizeCall(given.model, given.tokens)


def render_tokens(tokens: Tokenized, model: Model) -> bytes:
    """The answer of /tokenize."""
    return orjson.dumps(
        {
            "count": len(tokens.ids),
            "max_model_len": model.context_length,
            "tokens": tokens.ids,
            "token_strs": tokens.strings,
        }
    )


def render_text(text: str) -> bytes:
    """The answer of /detokenize."""
    return orjson.dumps({"prompt": text})
