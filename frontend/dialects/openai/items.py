"""The items of `/v1/responses`, and the chat messages that they make. Pure.

What a model said in one turn comes as several items (thoughts, text, calls) and is one message.
"""

from typing import Any

from frontend.dialects.fields import Fields
from frontend.domain.generation import ImageLink
from frontend.errors import InvalidRequest

Item = dict[str, Any]
Message = dict[str, Any]

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_IGNORED = ("id", "status", "phase", "created_by", "agent")  # of items that are sent back


def read_items(fields: Fields, most: int) -> list[Item]:
    """Takes `input`, a text or items; they are looked into by `messages_of`."""
    given = fields.take("input")
    if given is None or given == []:
        return []
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    if not isinstance(given, list):
        raise fields.refuse("input", "must be a string or a list of items")
    if len(given) > most:
        raise fields.refuse("input", f"has {len(given)} entries, at most {most} are allowed")
    return given


def messages_of(items: list[Item], images: list[ImageLink], earlier: int = 0) -> list[Message]:
    """The conversation; what it refers to goes into `images`, in order.

    The first `earlier` items are those of stored responses. Raises InvalidRequest naming an item.
    """
    messages: list[Message] = []
    for index, item in enumerate(items):
        place = f"input[{index - earlier}]" if index >= earlier else "previous_response_id"
        fields = Fields(item, place)
        kind = fields.text("type") or "message"
        reader = _READERS.get(kind)
        if reader is None:
            known = ", ".join(repr(one) for one in _READERS)
            raise fields.refuse("type", f"is {kind[:60]!r}; supported: {known}")
        for name in _IGNORED:
            fields.take(name)
        reader(fields, messages, images)
        if kind in _MODELS or (kind == "message" and messages[-1]["role"] == "assistant"):
            fields.leave()  # whatever an SDK keeps beside what a model said
        fields.finish()
    return messages


def _message(fields: Fields, messages: list[Message], images: list[ImageLink]) -> None:
    role = fields.choice("role", _ROLES)
    if role is None:
        raise fields.refuse("role", "is required", code="missing_required_parameter")
    content = _content(fields, images)
    if role == "assistant":
        _turn(messages, "content")["content"] = content
    else:
        messages.append({"role": _ROLES[role], "content": content})


def _content(fields: Fields, images: list[ImageLink], name: str = "content") -> Any:
    """A text, or parts where some are images."""
    content = fields.required(name)
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise fields.refuse(name, "must be a string or a list of content parts")
    before = len(images)
    parts = [
        _part(Fields(part, fields.at(f"{name}[{index}]")), images)
        for index, part in enumerate(content)
    ]
    return parts if len(images) > before else "".join(part["text"] for part in parts)


def _part(part: Fields, images: list[ImageLink]) -> dict[str, str]:
    kind = part.text("type")
    part.take("prompt_cache_breakpoint")
    if kind == "input_image":
        images.append(_image(part))
        return {"type": "image"}
    name = {"input_text": "text", "output_text": "text", "refusal": "refusal"}.get(kind or "")
    if name is None:
        raise InvalidRequest(
            f"'{part.at('type')}' is {str(kind)[:60]!r}; text and images are taken",
            param=part.at("type"),
            code="unsupported_content",
        )
    text = part.text(name)
    if text is None:
        raise part.refuse(name, "is required", code="missing_required_parameter")
    if kind != "input_text":  # whatever an SDK keeps beside what a model said
        part.leave()
    part.finish()
    return {"type": "text", "text": text}


def _image(part: Fields) -> ImageLink:
    part.choice("detail", ("auto", "low", "high", "original"))  # the model has one way to look
    part.only("file_id", (), "there are no stored files; send 'image_url'")
    url = part.text("image_url")
    if not url:
        raise part.refuse("image_url", "is required", code="missing_required_parameter")
    if not url.lower().startswith(("https:", "data:")):
        raise part.refuse("image_url", "must begin with 'https:' or 'data:'")
    part.finish()
    return ImageLink(url, part.at("image_url"))


def _call(fields: Fields, messages: list[Message], _images: list[ImageLink]) -> None:
    call_id, name = fields.text("call_id"), fields.text("name")
    for field, value in (("call_id", call_id), ("name", name)):
        if not value:
            raise fields.refuse(field, "is required", code="missing_required_parameter")
    arguments = fields.text("arguments") or "{}"
    function = {"name": name, "arguments": arguments}
    call = {"id": call_id, "type": "function", "function": function}
    _turn(messages, "").setdefault("tool_calls", []).append(call)


def _result(fields: Fields, messages: list[Message], images: list[ImageLink]) -> None:
    call_id = fields.text("call_id")
    if not call_id:
        raise fields.refuse("call_id", "is required", code="missing_required_parameter")
    fields.take("caller")
    before = len(images)
    output = _content(fields, images, "output")
    if len(images) > before:
        raise fields.refuse("output", "holds images; send them in a message of the user")
    messages.append({"role": "tool", "tool_call_id": call_id, "content": output})


def _thought(fields: Fields, messages: list[Message], _images: list[ImageLink]) -> None:
    texts = []
    for index, one in enumerate(fields.take("content") or ()):
        part = Fields(one, fields.at(f"content[{index}]"))
        part.choice("type", ("reasoning_text",))
        texts.append(part.text("text") or "")
        part.finish()
    if any(texts):
        _turn(messages, "reasoning_content")["reasoning_content"] = "".join(texts)


def _turn(messages: list[Message], field: str) -> Message:
    """The assistant's message that an item belongs to: the last one, where it still can."""
    last = messages[-1] if messages else {"role": ""}
    begun = bool(last.get("content") or last.get("tool_calls"))  # thoughts come before both
    over = begun if field == "reasoning_content" else bool(last.get(field))
    if last["role"] != "assistant" or over:
        last = {"role": "assistant", "content": ""}
        messages.append(last)
    return last


_MODELS = ("function_call", "reasoning")
_READERS = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _result,
    "reasoning": _thought,
}
