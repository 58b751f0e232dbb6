"""The messages of a conversation, in order. Plain data, independent of any wire format."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text, in a message that also has images."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """The place of an image. The files are separate from the conversation, in the same order."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model made. `arguments` is the text of a JSON object."""

    name: str
    arguments: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the user, the assistant, the system or a tool.

    `content` is a text, or parts where some are images. Only an assistant's message has `calls`
    and `reasoning`; `answers` is the id of the call whose result a tool's message holds.
    """

    role: Role
    content: str | tuple[Text | Image, ...]
    calls: tuple[ToolCall, ...] = ()
    name: str | None = None
    answers: str | None = None
    reasoning: str | None = None
