"""The bodies of `/api/chat` and `/api/generate`. Unknown fields are ignored."""

from typing import Annotated, Literal

from msgspec import Meta

from frontend.dialects.declare import Object, TokenIdList, TopLogprobs, about
from frontend.dialects.functions import (
    CHOICE,
    PARALLEL,
    TOOLS,
    ChoiceBody,
    ToolList,
)
from frontend.dialects.ollama.messages import (
    ImageList,
    MessageBody,
)
from frontend.dialects.ollama.models import NameBody
from frontend.dialects.ollama.options import KEEP_ALIVE, OptionsBody

_Size = Annotated[int, Meta(ge=1, le=2**15)]


class SharedBody(NameBody, kw_only=True):
    """The fields that both requests have."""

    options: Annotated[OptionsBody | None, about("How tokens are chosen.")] = None
    shift: Annotated[
        bool | None, about("Accepted and not needed: answers end at the context length.")
    ] = None
    stream: Annotated[
        bool | None, about("Send the answer as lines of JSON while it is generated. Default: true.")
    ] = None
    keep_alive: Annotated[
        int | float | str | None,
        about(KEEP_ALIVE, must_be="a duration"),
    ] = None
    think: Annotated[
        bool | str | None,
        about(
            "Whether the model reasons before it answers, or at which level.",
            must_be="true, false or a level",
        ),
    ] = None
    logprobs: Annotated[bool | None, about("Return log probabilities of the answer's tokens.")] = (
        None
    )
    top_logprobs: Annotated[
        TopLogprobs | None,
        about("With logprobs: the number of alternatives to return for each token."),
    ] = None
    format: Annotated[
        str | Object | None,
        about("'json', or a JSON schema that the answer matches.",
              must_be="'json' or a JSON schema"),
    ] = None  # fmt: skip
    truncate: Annotated[
        bool | None, about("Shorten a prompt that exceeds the context. Default: true.")
    ] = None


class ChatBody(SharedBody, kw_only=True):
    """A conversation to be continued. Without messages the model is only loaded."""

    messages: Annotated[
        list[MessageBody] | None, about("The conversation.", says="must be a list of messages")
    ] = None
    tools: Annotated[ToolList | None, TOOLS] = None
    tool_choice: Annotated[ChoiceBody | None, CHOICE] = None
    parallel_tool_calls: Annotated[bool | None, PARALLEL] = None


class GenerateBody(SharedBody, kw_only=True):
    """A text to be continued, or an image to be generated."""

    prompt: Annotated[str | None, about("The text.")] = None
    suffix: Annotated[
        str | None, about("The text after the answer: the model fills in what is between.")
    ] = None
    system: Annotated[str | None, about("Instructions before the text.")] = None
    raw: Annotated[bool | None, about("Send the prompt without the model's chat template.")] = None
    template: Annotated[
        Literal[""] | None,
        about(
            "Must be empty: each model has its own template.",
            reason="each model has its own template",
        ),
    ] = None
    context: Annotated[
        TokenIdList | None,
        about(
            "The context of an earlier answer.",
            says="must be the list of token ids of an earlier answer",
        ),
    ] = None
    images: Annotated[
        ImageList | None,
        about(
            "Files, as base64.", says="must be a list of at most 64 images", shown_as=(list[str],)
        ),
    ] = None
    width: Annotated[_Size | None, about("The width of an image, in pixels.")] = None
    height: Annotated[_Size | None, about("The height of an image, in pixels.")] = None
    steps: Annotated[_Size | None, about("The number of denoising steps of an image.")] = None
