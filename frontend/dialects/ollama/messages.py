"""The messages and images of Ollama's requests. Unknown fields are ignored. Pure."""

import base64
import binascii
from typing import Annotated, Any, Literal

import orjson

from frontend.dialects.declare import Object, Open, about
from frontend.dialects.refusal import refuse
from frontend.domain.generation import ImageLink
from frontend.domain.messages import Image, Message, Text, ToolCall

MAX_IMAGES = 64
_HEAD = 16  # characters of base64 that tell a file's format
_IMAGES = f"must be a list of at most {MAX_IMAGES} images"
ImageList = list[Any]


class CalledFunction(Open, kw_only=True):
    """The function of a call."""

    name: Annotated[str | None, about("The function's name.")] = None
    arguments: Annotated[Object | None, about("The arguments.")] = None


class Call(Open, kw_only=True):
    """A call that the model made."""

    id: Annotated[str | None, about("The call's id.")] = None
    function: Annotated[CalledFunction | None, about("The function and its arguments.")] = None


class MessageBody(Open, kw_only=True):
    """One message."""

    role: Annotated[
        Literal["system", "user", "assistant", "tool"] | None,
        about("The author: system, user, assistant or tool."),
    ] = None
    content: Annotated[str | None, about("The text.")] = None
    images: Annotated[
        ImageList | None, about("Files, as base64.", says=_IMAGES, shown_as=(list[str],))
    ] = None
    tool_calls: Annotated[
        list[Call] | None, about("Calls that the model made.", says="must be a list")
    ] = None
    tool_name: Annotated[str | None, about("The function whose result it is.")] = None
    name: Annotated[str | None, about("Another name of tool_name.")] = None
    tool_call_id: Annotated[str | None, about("The call whose result it is.")] = None
    thinking: Annotated[str | None, about("The model's reasoning.")] = None


def make_messages(given: list[MessageBody], links: list[ImageLink]) -> tuple[Message, ...]:
    """Converts the conversation; appends the images that it refers to to `links`, in order."""
    return tuple(_message(one, f"messages[{i}]", links) for i, one in enumerate(given))


def _message(body: MessageBody, path: str, links: list[ImageLink]) -> Message:
    if body.role is None:
        raise refuse(f"{path}.role", "is required")
    images = read_images(body.images, f"{path}.images")
    links += images
    calls = _calls(body.tool_calls or [], path)
    said = body.role == "assistant"
    return Message(
        body.role,
        make_content(body.content or "", images),
        calls if said else (),
        body.tool_name or body.name or None,
        body.tool_call_id or None,
        body.thinking or None if said else None,
    )


def _calls(given: list[Call], path: str) -> tuple[ToolCall, ...]:
    calls = []
    for index, call in enumerate(given):
        if call.function is None or not call.function.name:
            raise refuse(f"{path}.tool_calls[{index}].function.name", "is required")
        arguments = orjson.dumps(call.function.arguments or {}).decode()
        calls.append(ToolCall(call.function.name, arguments, call.id))
    return tuple(calls)


def make_content(text: str, images: list[ImageLink]) -> str | tuple[Text | Image, ...]:
    """The text, or parts for the template: images first, as in Ollama's own templates."""
    if not images:
        return text
    places = [Image() for _ in images]
    return (*places, Text(text)) if text else tuple(places)


def read_images(given: list[Any] | None, path: str) -> list[ImageLink]:
    """Converts files to `data:` URLs. Raises InvalidRequest for a file that is not base64."""
    if len(given or ()) > MAX_IMAGES:
        raise refuse(path, _IMAGES)
    links = []
    for index, one in enumerate(given or ()):
        try:
            data = base64.b64decode(one[:_HEAD], validate=True)  # the rest where it is decoded
        except (binascii.Error, ValueError, TypeError, KeyError):
            raise refuse(f"{path}[{index}]", "is not base64") from None
        links.append(ImageLink(f"data:{_kind(data)};base64,{one}", f"{path}[{index}]"))
    return links


def _kind(data: bytes) -> str:
    """The media type by the first bytes; the decoder has the last word."""
    marks = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))
    return next((f"image/{name}" for mark, name in marks if data.startswith(mark)), "image/png")
