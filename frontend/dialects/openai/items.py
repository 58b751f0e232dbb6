"""Converts the items of `/v1/responses` to messages. Pure.

A turn of the model is several items here (reasoning, text, calls), and one canonical message.
Unknown fields of the model's items are ignored: SDKs send items back with their own.
"""

from dataclasses import replace
from typing import Annotated, Any, Literal

from frontend.dialects.declare import Body, Open, Refused, about
from frontend.dialects.read import read, tag_of
from frontend.dialects.refusal import refuse, require
from frontend.domain.generation import ImageLink
from frontend.domain.messages import Image, Message, Text, ToolCall

Item = dict[str, Any]

_CONTENT = "must be a string or a list of content parts"


class _MessageItem(Body, kw_only=True):
    type: Any = None
    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[str | list[Any], about("A text, or parts.", says=_CONTENT)]
    id: Any = None
    status: Any = None
    phase: Any = None
    created_by: Any = None
    agent: Any = None


class _AssistantItem(Open, kw_only=True):
    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[str | list[Any], about("A text, or parts.", says=_CONTENT)]


class _CallItem(Open, kw_only=True):
    call_id: str
    name: str
    arguments: str | None = None


class _ResultItem(Body, kw_only=True):
    type: Any = None
    call_id: str
    output: Annotated[str | list[Any], about("A text, or parts.", says=_CONTENT)]
    caller: Any = None
    id: Any = None
    status: Any = None
    phase: Any = None
    created_by: Any = None
    agent: Any = None


class _ReasoningText(Body, kw_only=True):
    type: Literal["reasoning_text"] | None = None
    text: str | None = None


class _ReasoningItem(Open, kw_only=True):
    content: list[_ReasoningText] | None = None


class _InputText(Body, kw_only=True):
    type: Any = None
    text: str
    prompt_cache_breakpoint: Any = None


class _OutputText(Open, kw_only=True):
    text: str


class _Refusal(Open, kw_only=True):
    refusal: str


class _InputImage(Body, kw_only=True):
    type: Any = None
    prompt_cache_breakpoint: Any = None
    file_id: Annotated[
        Refused | None,
        about("Refused.", reason="there are no stored files; send 'image_url'"),
    ] = None
    image_url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


def messages_of(
    items: list[Item], images: list[ImageLink], earlier: int = 0
) -> tuple[Message, ...]:
    """Converts the conversation; appends the images that it refers to, in order.

    The first `earlier` items are those of stored responses. Raises InvalidRequest naming an item.
    """
    messages: list[Message] = []
    for index, item in enumerate(items):
        # items of stored responses are not in this request's input
        path = f"input[{index - earlier}]" if index >= earlier else "previous_response_id"
        kind = tag_of(item, path) or "message"
        reader = _READERS.get(kind)
        if reader is None:
            known = ", ".join(repr(one) for one in _READERS)
            raise refuse(f"{path}.type", f"is {kind[:60]!r}; supported: {known}")
        reader(item, path, messages, images)
    return tuple(messages)


def _message(item: Item, path: str, messages: list[Message], images: list[ImageLink]) -> None:
    if item.get("role") == "assistant":
        answer = read(_AssistantItem, item, path)
        content = _content(answer.content, f"{path}.content", images)
        messages[-1:] = _turned(messages, "content", content=content)
        return
    given = read(_MessageItem, item, path)
    content = _content(given.content, f"{path}.content", images)
    # `developer` is the newer name of `system`
    messages.append(Message("user" if given.role == "user" else "system", content))


def _content(
    content: str | list[Any], path: str, images: list[ImageLink]
) -> str | tuple[Text | Image, ...]:
    """A text, or parts where some are images."""
    if isinstance(content, str):
        return content
    parts = [_part(part, f"{path}[{index}]", images) for index, part in enumerate(content)]
    if any(isinstance(part, Image) for part in parts):
        return tuple(parts)
    return "".join(part.text for part in parts if isinstance(part, Text))


def _part(part: Any, path: str, images: list[ImageLink]) -> Text | Image:
    kind = tag_of(part, path)
    if kind == "input_image":
        images.append(_link(read(_InputImage, part, path), path))
        return Image()
    if kind == "input_text":
        return Text(read(_InputText, part, path).text)
    if kind == "output_text":
        return Text(read(_OutputText, part, path).text)
    if kind == "refusal":
        return Text(read(_Refusal, part, path).refusal)
    problem = f"is {str(kind)[:60]!r}; only text and images are supported"
    raise refuse(f"{path}.type", problem, code="unsupported_content")


def _link(image: _InputImage, path: str) -> ImageLink:
    path = f"{path}.image_url"
    if not image.image_url:
        raise require(path)
    if not image.image_url.lower().startswith(("https:", "data:")):
        raise refuse(path, "must begin with 'https:' or 'data:'")
    return ImageLink(image.image_url, path)


def _call(item: Item, path: str, messages: list[Message], _images: list[ImageLink]) -> None:
    given = read(_CallItem, item, path)
    for name, value in (("call_id", given.call_id), ("name", given.name)):
        if not value:
            raise require(f"{path}.{name}")
    call = ToolCall(given.name, given.arguments or "{}", given.call_id)
    messages[-1:] = _turned(messages, "calls", call=call)


def _result(item: Item, path: str, messages: list[Message], images: list[ImageLink]) -> None:
    given = read(_ResultItem, item, path)
    if not given.call_id:
        raise require(f"{path}.call_id")
    output = _content(given.output, f"{path}.output", images)
    if not isinstance(output, str):
        raise refuse(f"{path}.output", "contains images; send them in a user message")
    messages.append(Message("tool", output, answers=given.call_id))


def _thought(item: Item, path: str, messages: list[Message], _images: list[ImageLink]) -> None:
    given = read(_ReasoningItem, item, path)
    text = "".join(part.text or "" for part in given.content or ())
    if text:
        messages[-1:] = _turned(messages, "reasoning", reasoning=text)


def _turned(
    messages: list[Message],
    field: str,
    *,
    content: str | tuple[Text | Image, ...] = "",
    call: ToolCall | None = None,
    reasoning: str | None = None,
) -> list[Message]:
    """The last message and the assistant's with the field, which are one where that can be."""
    last = messages[-1:]
    turn = Message("assistant", "")
    if last and last[0].role == "assistant" and not _is_over(last[0], field):
        turn, last = last[0], []
    if field == "content":
        return [*last, replace(turn, content=content)]
    if call is not None:
        return [*last, replace(turn, calls=(*turn.calls, call))]
    thoughts = [one for one in (turn.reasoning, reasoning) if one]
    return [*last, replace(turn, reasoning="\n\n".join(thoughts))]


def _is_over(turn: Message, field: str) -> bool:
    """Reasoning comes before text and calls, a turn has one text, and any number of calls."""
    if field == "reasoning":
        return bool(turn.content or turn.calls)
    return field == "content" and bool(turn.content)


_READERS = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _result,
    "reasoning": _thought,
}
