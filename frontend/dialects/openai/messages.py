"""The messages of `/v1/chat/completions`. Pure.

Assistant messages are sent back in the form of any server's SDK, so their unknown fields are
ignored. Unknown fields of all other messages are refused by name.
"""

from collections.abc import Callable
from typing import Annotated, Any

import orjson

from frontend.dialects.declare import Open, about
from frontend.dialects.openai.message_body import (
    TAKEN,
    Assistant,
    CalledFunction,
    ChatMessage,
    Developer,
    Function,
    ImagePart,
    System,
    TextPart,
    Tool,
    User,
)
from frontend.dialects.read import read, tag_of
from frontend.dialects.refusal import MISSING, refuse, require
from frontend.domain.generation import ImageLink
from frontend.domain.messages import Image, Message, Text, ToolCall


class _SaidText(Open, kw_only=True):
    text: Annotated[str, about("The text.")]


class _SaidRefusal(Open, kw_only=True):
    refusal: Annotated[str, about("The text.")]


def make_messages(given: list[ChatMessage], images: list[ImageLink]) -> tuple[Message, ...]:
    """Converts the conversation; appends the images that it refers to, in order."""
    return tuple([_MAKERS[type(one)](one, index, images) for index, one in enumerate(given)])


def _user(message: User, index: int, images: list[ImageLink]) -> Message:
    return Message("user", _content(message.content, index, images), (), message.name)


def _system(message: System | Developer, index: int, images: list[ImageLink]) -> Message:
    return Message("system", _content(message.content, index, images), (), message.name)


def _tool(message: Tool, index: int, images: list[ImageLink]) -> Message:
    if not message.tool_call_id:
        raise require(f"messages[{index}].tool_call_id")
    content = _content(message.content, index, images)
    return Message("tool", content, (), message.name, message.tool_call_id)


def _function(message: Function, index: int, images: list[ImageLink]) -> Message:
    if not message.name:
        raise require(f"messages[{index}].name")
    return Message("tool", _content(message.content, index, images), (), message.name)


def _content(
    content: str | list[TextPart | ImagePart], index: int, images: list[ImageLink]
) -> str | tuple[Text | Image, ...]:
    """A text; texts joined as the chat templates want them; or parts, where some are images."""
    if isinstance(content, str):
        return content
    path = f"messages[{index}].content"
    return _joined([_part(part, f"{path}[{n}]", images) for n, part in enumerate(content)])


def _joined(parts: list[Text | Image]) -> str | tuple[Text | Image, ...]:
    if any(isinstance(part, Image) for part in parts):
        return tuple(parts)
    return "".join(part.text for part in parts if isinstance(part, Text))


def _part(part: TextPart | ImagePart, path: str, images: list[ImageLink]) -> Text | Image:
    if isinstance(part, TextPart):
        return Text(part.text)
    images.append(_link(part, path))
    return Image()


def _link(part: ImagePart, path: str) -> ImageLink:
    path = f"{path}.image_url.url"
    if part.image_url is None or not part.image_url.url:
        raise require(path)
    if not part.image_url.url.lower().startswith(("https:", "data:")):
        raise refuse(path, "must begin with 'https:' or 'data:'")
    return ImageLink(part.image_url.url, path)


def _assistant(message: Assistant, index: int, images: list[ImageLink]) -> Message:
    content, thoughts = message.content, _thoughts(message)
    # the plain text of an earlier answer is the common case; the rest takes the longer way
    called = message.tool_calls or message.function_call is not None
    if not content or called or not isinstance(content, str):
        return _special(message, f"messages[{index}]", images)
    return Message("assistant", content, (), message.name or None, None, thoughts or None)


def _special(message: Assistant, path: str, images: list[ImageLink]) -> Message:
    """A message that has calls or parts, or that replaces a text: a refusal, or the words of an
    audio."""
    content: str | tuple[Text | Image, ...] | None
    thoughts = _thoughts(message)
    if isinstance(message.content, list):
        content, thoughts = _content_parts(message.content, f"{path}.content", images, thoughts)
    else:
        content = message.content
    calls = _calls(message, path)
    # a text wins: SDKs send `refusal` and `audio` back beside it
    if not content:
        content = message.refusal or _spoken(message, path) or content
    if content is None and not calls and not thoughts:
        problem = "is required where there are no 'tool_calls'"
        raise refuse(f"{path}.content", problem, code=MISSING)
    name = message.name or None
    return Message("assistant", content or "", calls, name, None, thoughts or None)


def _thoughts(message: Assistant) -> str:
    """Some servers send reasoning as text, others as objects of their own, which are ignored."""
    for thought in (message.reasoning_content, message.reasoning, message.thinking):
        if thought and isinstance(thought, str):
            return thought
    return ""


def _spoken(message: Assistant, path: str) -> str | None:
    audio = message.audio
    if audio is None:
        return None
    words = audio.get("transcript") if isinstance(audio, dict) else None
    if not isinstance(words, str) or not words:
        raise refuse(f"{path}.audio", "has no 'transcript', and audio is not supported")
    return words


def _content_parts(
    parts: list[Any], path: str, images: list[ImageLink], thoughts: str
) -> tuple[str | tuple[Text | Image, ...] | None, str]:
    """The content of an assistant's parts, and its reasoning with that in the parts."""
    made: list[Text | Image] = []
    for index, part in enumerate(parts):
        place = f"{path}[{index}]"
        kind = tag_of(part, place)
        if kind in ("thinking", "reasoning", "redacted_thinking"):
            thoughts += _thought(part)
        elif kind in ("text", "output_text"):
            made.append(Text(read(_SaidText, part, place).text))
        elif kind == "refusal":
            made.append(Text(read(_SaidRefusal, part, place).refusal))
        elif kind == "image_url":
            made.append(_part(read(ImagePart, part, place), place, images))
        elif kind is None:
            raise require(f"{place}.type")
        else:
            raise refuse(f"{place}.type", f"is {kind[:60]!r}; {TAKEN[0]}", code=TAKEN[1])
    return (_joined(made) if made else None), thoughts


def _thought(part: dict[str, Any]) -> str:
    thought = part.get("thinking") or part.get("text")
    if isinstance(thought, list):  # Mistral's have parts of their own
        thought = "".join(str(one.get("text", "")) for one in thought if isinstance(one, dict))
    return thought if isinstance(thought, str) else ""


def _calls(message: Assistant, path: str) -> tuple[ToolCall, ...]:
    """The calls, or the one call that there was before there were several."""
    # SDKs send the call in both forms, and it is the same one
    if message.function_call is not None and not message.tool_calls:
        return (_call(message.function_call, None, f"{path}.function_call"),)
    return tuple(
        _call(call.function, call.id, f"{path}.tool_calls[{index}].function")
        for index, call in enumerate(message.tool_calls or ())
    )


def _call(function: CalledFunction, call_id: str | None, path: str) -> ToolCall:
    if not function.name:
        raise require(f"{path}.name")
    arguments = function.arguments
    if isinstance(arguments, dict):
        arguments = orjson.dumps(arguments).decode()
    return ToolCall(function.name, arguments or "{}", call_id)


_MAKERS: dict[type, Callable[[Any, int, list[ImageLink]], Message]] = {
    System: _system,
    Developer: _system,
    User: _user,
    Assistant: _assistant,
    Tool: _tool,
    Function: _function,
}
