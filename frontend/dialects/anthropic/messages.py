"""The messages and the system prompt of Anthropic's requests. Pure."""

from typing import Annotated, Any

from msgspec import Meta

from frontend.dialects.anthropic.blocks import (
    ImageBlock,
    TextBlock,
    ToolResultBlock,
    read_assistant,
    read_texts,
    read_user,
)
from frontend.dialects.declare import Body, about
from frontend.domain.generation import ImageLink
from frontend.domain.messages import Message
from frontend.errors import InvalidRequest

_CONTENT = "must be a string or a list of content blocks"


class _Said(Body, kw_only=True):
    content: Annotated[
        str | list[Any],
        about(
            "A text, or content blocks.",
            says=_CONTENT,
            shown_as=(str, list[TextBlock | ImageBlock | ToolResultBlock]),
        ),
    ]


class User(_Said, tag_field="role", tag="user"):
    """A user's message: text and tool results."""


class Assistant(_Said, tag_field="role", tag="assistant"):
    """An assistant's message."""


class System(_Said, tag_field="role", tag="system"):
    """Instructions."""


Messages = Annotated[list[User | Assistant | System], Meta(min_length=1)]


def make_system(given: str | list[Any] | None) -> tuple[Message, ...]:
    """The system prompt, if there is one."""
    text = read_texts(given, "system") if isinstance(given, list) else given
    return (Message("system", text),) if text else ()


def make_messages(given: list[User | Assistant | System], images: list[ImageLink]) -> list[Message]:
    """Converts the conversation; appends the images that it refers to, in order."""
    messages: list[Message] = []
    for index, one in enumerate(given):
        content = one.content
        path = f"messages[{index}].content"
        if isinstance(one, User):
            if isinstance(content, str):
                messages.append(Message("user", content))
            else:
                messages += read_user(content, path, images)
        elif isinstance(one, Assistant):
            if isinstance(content, str):
                messages.append(Message("assistant", content))
            else:
                messages.append(read_assistant(content, path))
        else:
            text = content if isinstance(content, str) else read_texts(content, path)
            messages.append(Message("system", text))
    return messages


def check_any(body: object) -> None:
    """Raises InvalidRequest without a message, with the API's own text, which clients parse."""
    given = body.get("messages") if isinstance(body, dict) else None
    # a missing field is left to the declaration, which names it
    if given is not None and not (given and isinstance(given, list)):
        raise InvalidRequest("messages: at least one message is required", param="messages")
