"""Text to be generated: the canonical request that every dialect is translated to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from frontend.domain.messages import Message
from frontend.domain.sampling import Sampling
from frontend.domain.structure import SchemaUse, Structure, Validation
from frontend.domain.tools import Tools


@dataclass(frozen=True, slots=True)
class ImageLink:
    """An image that a message refers to: a `data:` or `https:` URL, and the field it is in."""

    url: str
    path: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages that the model's chat template turns into a prompt.

    `template_options` and `effort` (of reasoning) are passed to the template. `continued`: the
    model continues the last message; `opened`: the template opens the model's turn. None: its
    default.
    """

    messages: tuple[Message, ...]
    template_options: Mapping[str, Any] | None = None
    effort: str | None = None
    opened: bool | None = None
    continued: bool | None = None
    prefix: Sequence[int] = ()
    """Token ids of an earlier conversation, which go in front."""
    special_tokens: bool | None = None
    """Whether the tokenizer adds its special tokens to those of the template. None: no."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Text that the model continues, or fills in where there is a `suffix`."""

    text: str
    suffix: str | None = None
    special_tokens: bool | None = None
    """Whether the tokenizer adds its special tokens. None: its default."""


@dataclass(frozen=True, slots=True)
class TokenIds:
    """A prompt that the caller has tokenized."""

    ids: Sequence[int]


Prompt = Conversation | Passage | TokenIds


@dataclass(frozen=True, slots=True)
class Tokenized:
    """A prompt's tokens; `strings` are the vocabulary's own, where they were asked for."""

    ids: Sequence[int]
    strings: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Truncation:
    """Shortens a prompt that leaves no room: to leave `reply` tokens, keeping its first `keep`."""

    reply: int
    keep: int


@dataclass(frozen=True, slots=True)
class Reply:
    """How the engine reads what the model writes: tool calls, reasoning, or `raw` text."""

    raw: bool = False
    template_options: Mapping[str, Any] | None = None
    """The options of the chat template that say how the model thinks."""
    reasoning: bool | None = None
    """Whether reasoning is part of the answer. None: yes."""
    prompt_token_ids: bool = False


@dataclass(frozen=True, slots=True)
class Generation:
    """Text to be generated for one prompt. Without `reply` the text stays as it is."""

    prompt: Prompt
    sampling: Sampling = field(default_factory=Sampling)
    reply: Reply | None = None
    tools: Tools | None = None
    structure: Structure | None = None
    images: tuple[bytes, ...] = ()
    """Image files, one for each image part of the messages, in order."""
    param: str = "messages"
    """The request's field that the prompt comes from, for errors."""
    schemas: tuple[SchemaUse, ...] = ()
    """The request's JSON schemas that have not been checked yet."""
    validation: Validation | None = None
    context_length: int | None = None
    """The most tokens of prompt and reply, where that is less than the model has."""
    truncation: Truncation | None = None
    cache_salt: str | None = None
    """The engine shares cached prefixes of prompts only among those with the same text."""
    session: str | None = None
    """What the caller names a conversation or an agent's work by, to stay at one upstream."""
    known_bytes: int | None = field(default=None, init=False, repr=False, compare=False)
    """Its size once `generation.sizes` has measured it, which a request asks for several times."""
