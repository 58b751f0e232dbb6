"""Text to be generated."""

from dataclasses import dataclass
from typing import Any

from frontend.domain.structure import Held, SchemaUse


@dataclass(frozen=True, slots=True)
class ImageLink:
    """An image that a message refers to: a `data:` or `https:` URL, and where it stands."""

    url: str
    path: str


@dataclass(frozen=True, slots=True)
class Generation:
    """Text to be generated for one prompt.

    `prompt` is the contract's prompt object: messages, text or token ids. `sampling` holds vLLM's
    SamplingParams by name. `reply` says what to tell from the text: tool calls, reasoning; None
    means that it is to stay as it is.
    """

    prompt: dict[str, Any]
    sampling: dict[str, Any]
    reply: dict[str, Any] | None = None
    images: tuple[bytes, ...] = ()
    """Image files, one for each image part of the messages, in order."""
    param: str = "messages"
    """The request's field that the prompt comes from, for errors."""
    schemas: tuple[SchemaUse, ...] = ()
    """The request's JSON schemas, of which nothing has been checked yet."""
    held: Held | None = None
