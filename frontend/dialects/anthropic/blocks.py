"""Converts content blocks of Anthropic's messages to the canonical conversation. Pure.

Tool results in user messages become separate messages before the user's text. Their images are
added to the user's text, because templates do not support images in a result.
"""

import re
from typing import Annotated, Any, Literal

import orjson

from frontend.dialects.declare import Body, Object, Off, Open, about
from frontend.dialects.read import read, tag_of
from frontend.dialects.refusal import refuse, require
from frontend.domain.generation import ImageLink
from frontend.domain.messages import Image, Message, Text, ToolCall
from frontend.errors import InvalidRequest

_Media = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
_BASE64 = re.compile(r"[A-Za-z0-9+/=]*")
_SEEN = ("text", "image", "tool_use", "tool_result", "thinking", "redacted_thinking", "document")
_PROVIDERS = ("redacted_thinking", "server_tool_use", "mcp_tool_use", "container_upload")
"""Blocks of the assistant that only its provider can read, or for tools that ran there."""


class TextBlock(Body, tag_field="type", tag="text", kw_only=True):
    """Text."""

    text: Annotated[str, about("The text.")]
    cache_control: Annotated[Object | None, about("Accepted and not needed.")] = None
    citations: Annotated[Any, about("Ignored.")] = None  # of an answer that is sent back


class ImageSource(Body, kw_only=True):
    """Where an image is."""

    type: Annotated[Literal["base64", "url"], about("The kind of this entry.")]
    media_type: Annotated[_Media | None, about("The format of the file.")] = None
    data: Annotated[str | None, about("The file, as base64.")] = None
    url: Annotated[str | None, about("An 'https:' URL.")] = None


class ImageBlock(Body, tag_field="type", tag="image", kw_only=True):
    """An image."""

    source: Annotated[ImageSource, about("The image.")]
    cache_control: Annotated[Object | None, about("Accepted and not needed.")] = None


class DocumentSource(Body, kw_only=True):
    """The text of a document."""

    type: Annotated[
        Literal["text", "base64", "url", "content", "file"] | None, about("Only 'text'.")
    ] = None
    media_type: Annotated[Literal["text/plain"] | None, about("The format of the text.")] = None
    data: Annotated[str | None, about("The text.")] = None
    url: Annotated[Any, about("Not supported.")] = None
    content: Annotated[Any, about("Not supported.")] = None
    file_id: Annotated[Any, about("Not supported.")] = None


class Citations(Body, kw_only=True):
    """Whether the answer cites the document."""

    enabled: Annotated[
        Off | None, about("Only false.", reason="answers do not contain citations")
    ] = None


class DocumentBlock(Body, tag_field="type", tag="document", kw_only=True):
    """A document of plain text."""

    source: Annotated[DocumentSource, about("The text.")]
    title: Annotated[str | None, about("The document's title.")] = None
    context: Annotated[str | None, about("More about the document.")] = None
    cache_control: Annotated[Object | None, about("Accepted and not needed.")] = None
    citations: Annotated[Citations | None, about("Only disabled.")] = None


class ToolResultBlock(Body, tag_field="type", tag="tool_result", kw_only=True):
    """The result of a call."""

    tool_use_id: Annotated[str, about("The id of the call.")]
    is_error: Annotated[bool | None, about("The call failed.")] = None
    content: Annotated[
        str | list[Any] | None,
        about("A text, or blocks.", says="must be a string or a list of content blocks"),
    ] = None
    cache_control: Annotated[Object | None, about("Accepted and not needed.")] = None


class _SaidText(Open, kw_only=True):
    text: str


class _Thinking(Open, kw_only=True):
    thinking: str | None = None


class _Call(Open, kw_only=True):
    id: str
    name: str
    input: Object
    cache_control: Object | None = None


def read_user(blocks: list[Any], path: str, images: list[ImageLink]) -> list[Message]:
    """Reads a user's messages: tool results first. Appends images to `images`, in order."""
    results: list[Message] = []
    parts: list[Text | Image] = []
    for index, block in enumerate(blocks):
        place = f"{path}[{index}]"
        kind = _kind(block, place)
        if kind == "tool_result":
            results.append(_result(block, place, parts, images))
        elif kind in ("text", "image", "document"):
            parts.append(_part(block, kind, place, images))
        else:
            raise refuse(f"{place}.type", f"is {kind!r}, which only assistant messages can contain")
    # a user who only answers calls has not said anything
    if not parts and results:
        return results
    if any(isinstance(part, Image) for part in parts):
        return [*results, Message("user", tuple(parts))]
    text = "\n\n".join(part.text for part in parts if isinstance(part, Text))
    return [*results, Message("user", text)]


def read_assistant(blocks: list[Any], path: str) -> Message:
    """Reads an assistant's message. Fields that SDKs add are ignored."""
    texts, thoughts, calls = [], [], []
    for index, block in enumerate(blocks):
        place = f"{path}[{index}]"
        kind = tag_of(block, place) or ""
        if kind == "text":
            texts.append(read(_SaidText, block, place).text)
        elif kind == "thinking":
            thoughts.append(read(_Thinking, block, place).thinking or "")
        elif kind == "tool_use":
            call = read(_Call, block, place)
            calls.append(ToolCall(call.name, orjson.dumps(call.input).decode(), call.id))
        # without blocks that only their provider can read, so that the conversation can continue
        elif kind not in _PROVIDERS and not kind.endswith("_tool_result"):
            raise refuse(
                f"{place}.type", f"is {kind[:60]!r}, which assistant messages cannot contain"
            )
    reasoning = "".join(thoughts) or None
    return Message("assistant", "".join(texts), tuple(calls), reasoning=reasoning)


def read_texts(blocks: list[Any], path: str) -> str:
    """Only text blocks, joined."""
    texts = []
    for index, block in enumerate(blocks):
        place = f"{path}[{index}]"
        if _kind(block, place) != "text":
            raise refuse(f"{place}.type", "must be 'text' here")
        texts.append(read(TextBlock, block, place).text)
    return "\n\n".join(texts)


def _kind(block: Any, path: str) -> str:
    kind = tag_of(block, path)
    if kind is None:
        raise require(f"{path}.type")
    if kind not in _SEEN:
        options = ", ".join(map(repr, _SEEN))
        raise refuse(f"{path}.type", f"is {kind[:60]!r}; supported: {options}")
    return kind


def _part(block: Any, kind: str, path: str, images: list[ImageLink]) -> Text | Image:
    if kind == "text":
        return Text(read(TextBlock, block, path).text)
    if kind == "document":
        return Text(_document(read(DocumentBlock, block, path), f"{path}.source"))
    images.append(_link(read(ImageBlock, block, path).source, f"{path}.source"))
    return Image()


def _link(source: ImageSource, path: str) -> ImageLink:
    if source.type == "url":
        if not source.url:
            raise require(f"{path}.url")
        if not source.url.lower().startswith("https:"):
            raise refuse(f"{path}.url", "must begin with 'https:'")
        return ImageLink(source.url, f"{path}.url")
    if not source.data:
        raise require(f"{path}.data")
    if source.media_type is None:
        raise require(f"{path}.media_type")
    if not _BASE64.fullmatch(source.data[:64]):  # the rest is checked where it is decoded
        raise refuse(f"{path}.data", "is not valid base64")
    return ImageLink(f"data:{source.media_type};base64,{source.data}", f"{path}.data")


def _document(block: DocumentBlock, path: str) -> str:
    """Plain text is passed as text; other files are not supported."""
    if block.source.type != "text":
        raise InvalidRequest(
            f"'{path}.type' must be 'text': files are not supported; send their text",
            param=f"{path}.type",
            code="unsupported_content",
        )
    if block.source.data is None:
        raise require(f"{path}.data")
    heads = (block.title, block.context)
    return "\n".join([*(head for head in heads if head), block.source.data])


def _result(block: Any, path: str, parts: list[Text | Image], images: list[ImageLink]) -> Message:
    given = read(ToolResultBlock, block, path)
    if not given.tool_use_id:
        raise require(f"{path}.tool_use_id")
    content = given.content or ""
    if isinstance(content, list):
        texts = []
        for index, one in enumerate(content):
            place = f"{path}.content[{index}]"
            part = _part(one, _result_kind(one, place), place, images)
            if isinstance(part, Text):
                texts.append(part.text)
            else:
                parts.append(part)
        content = "\n".join(texts)
    # chat templates do not have a mark for a failed call
    text = f"Error: {content}" if given.is_error else content
    return Message("tool", text, answers=given.tool_use_id)


def _result_kind(block: Any, path: str) -> str:
    if (kind := _kind(block, path)) not in ("text", "image", "document"):
        raise refuse(f"{path}.type", f"is {kind!r}; results can contain text and images")
    return kind
