"""The messages of `/v1/chat/completions`. Pure.

What an assistant said may come back as any server's SDK holds it, so unknown fields of its messages
are ignored. All other messages have known fields only; any other is refused by name.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import orjson
from msgspec import Meta

from frontend.dialects.declare import Body, Empty, Object, Off, Open, Refused, about
from frontend.dialects.read import MISSING, read, refuse, require, tag_of
from frontend.domain.generation import ImageLink
from frontend.domain.messages import Image, Message, Text, ToolCall

MAX_CALLS = 1024  # in one message
_CONTENT = "must be a string or a list of content parts"
_CALLS = "only assistant messages have calls"
_ASSISTANT = "only assistant messages have it"
_TOOL = "only messages of the role 'tool' have it"
_TAKEN = ("text and images are taken", "unsupported_content")


class _Marked(Body, kw_only=True):
    """Hints for caches and marks of clients: they change no answer."""

    cache_control: Annotated[Any, about("Accepted and not needed.")] = None
    prompt_cache_breakpoint: Annotated[Any, about("Accepted and not needed.")] = None
    id: Annotated[Any, about("Ignored.")] = None
    annotations: Annotated[Any, about("Ignored.")] = None
    provider_options: Annotated[Any, about("Ignored.")] = None


class TextPart(_Marked, tag_field="type", tag="text", kw_only=True):
    """Text."""

    text: Annotated[str, about("The text.")]


class ImageUrl(Body, kw_only=True):
    """Where an image is."""

    url: Annotated[str | None, about("An 'https:' URL, or a 'data:' URL with the file.")] = None
    detail: Annotated[
        Literal["auto", "low", "high", "original"] | None,
        about("Accepted: models look at images in one way."),
    ] = None


class ImagePart(_Marked, tag_field="type", tag="image_url", kw_only=True):
    """An image."""

    image_url: Annotated[ImageUrl | None, about("The image.")] = None


_Part = Annotated[TextPart | ImagePart, Meta(extra={"unknown": _TAKEN})]


class _Said(_Marked, kw_only=True):
    """A message of anyone but the assistant."""

    content: Annotated[str | list[_Part], about("A text, or parts.", says=_CONTENT)]
    name: Annotated[str | None, about("Who speaks.")] = None
    tool_calls: Annotated[Empty | None, about("Refused.", reason=_CALLS)] = None
    function_call: Annotated[Empty | None, about("Refused.", reason=_CALLS)] = None
    refusal: Annotated[Literal[""] | None, about("Refused.", reason=_ASSISTANT)] = None
    reasoning_content: Annotated[Literal[""] | None, about("Refused.", reason=_ASSISTANT)] = None
    reasoning: Annotated[Literal[""] | None, about("Refused.", reason=_ASSISTANT)] = None
    audio: Annotated[Refused | None, about("Refused.", reason="this model takes no audio")] = None


class _Asked(_Said, kw_only=True):
    tool_call_id: Annotated[Refused | None, about("Refused.", reason=_TOOL)] = None


class System(_Asked, tag_field="role", tag="system"):
    """Instructions."""


class Developer(_Asked, tag_field="role", tag="developer"):
    """Instructions, under their newer name."""


class User(_Asked, tag_field="role", tag="user"):
    """What the user says."""


class Tool(_Said, tag_field="role", tag="tool", kw_only=True):
    """The result of a tool."""

    tool_call_id: Annotated[str, about("The id of the call.")]
    status: Annotated[Any, about("Ignored.")] = None
    is_error: Annotated[Any, about("Ignored.")] = None
    artifact: Annotated[Any, about("Ignored.")] = None


class Function(_Asked, tag_field="role", tag="function"):
    """The result of a function, from before there were tools."""


class CalledFunction(Open, kw_only=True):
    """The function of a call."""

    name: Annotated[str, about("The function's name.")]
    arguments: Annotated[
        str | Object | None,
        about("The arguments as JSON.", must_be="a JSON object as a string"),
    ] = None


class Call(Open, kw_only=True):
    """A call as any server's SDK holds it."""

    type: Annotated[Literal["function"] | None, about("Always 'function'.")] = None
    id: Annotated[str | None, about("The call's id.")] = None
    function: Annotated[CalledFunction, about("The function and its arguments.")]


_Calls = Annotated[list[Call], Meta(max_length=MAX_CALLS)]


class Assistant(Open, tag_field="role", tag="assistant", kw_only=True):
    """What the model said: a text, calls, reasoning, a refusal or the words of an audio."""

    content: Annotated[
        str | list[Any] | None,
        about("A text, or parts.", says=_CONTENT, shown_as=(str, list[_Part])),
    ] = None
    tool_calls: Annotated[
        _Calls | None,
        about("The calls that it made.", says=f"must be a list of at most {MAX_CALLS} calls"),
    ] = None
    function_call: Annotated[
        CalledFunction | None, about("The call, from before there were tools.")
    ] = None
    name: Annotated[str | None, about("Who speaks.")] = None
    refusal: Annotated[str | None, about("Why it refused to answer.")] = None
    reasoning_content: Annotated[Any, about("Its reasoning, as text.")] = None
    reasoning: Annotated[Any, about("Its reasoning, as text.")] = None
    thinking: Annotated[Any, about("Its reasoning, as text.")] = None
    audio: Annotated[Any, about("An audio, of which the 'transcript' is read.")] = None
    prefix: Annotated[Off | None, about("Refused.", reason="send 'continue_final_message'")] = None
    partial: Annotated[Off | None, about("Refused.", reason="send 'continue_final_message'")] = None


ChatMessage = System | Developer | User | Assistant | Tool | Function


class _SaidText(Open, kw_only=True):
    text: Annotated[str, about("The text.")]


class _SaidRefusal(Open, kw_only=True):
    refusal: Annotated[str, about("The text.")]


def make_messages(given: list[ChatMessage], images: list[ImageLink]) -> tuple[Message, ...]:
    """The conversation; what it refers to goes into `images`, in order."""
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
    called = message.tool_calls or message.function_call is not None
    if not content or called or not isinstance(content, str):
        return _special(message, f"messages[{index}]", images)
    return Message("assistant", content, (), message.name or None, None, thoughts or None)


def _special(message: Assistant, path: str, images: list[ImageLink]) -> Message:
    """What has calls or parts, or stands for a text: a refusal, the words of an audio."""
    content: str | tuple[Text | Image, ...] | None
    thoughts = _thoughts(message)
    if isinstance(message.content, list):
        content, thoughts = _told(message.content, f"{path}.content", images, thoughts)
    else:
        content = message.content
    calls = _calls(message, path)
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
        raise refuse(f"{path}.audio", "has no 'transcript', and this model takes no audio")
    return words


def _told(
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
            raise refuse(f"{place}.type", f"is {kind[:60]!r}; {_TAKEN[0]}", code=_TAKEN[1])
    return (_joined(made) if made else None), thoughts


def _thought(part: dict[str, Any]) -> str:
    thought = part.get("thinking") or part.get("text")
    if isinstance(thought, list):  # Mistral's have parts of their own
        thought = "".join(str(one.get("text", "")) for one in thought if isinstance(one, dict))
    return thought if isinstance(thought, str) else ""


def _calls(message: Assistant, path: str) -> tuple[ToolCall, ...]:
    """The calls, or the one call that there was before there were several."""
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
