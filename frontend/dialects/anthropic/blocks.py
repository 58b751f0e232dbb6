"""Messages made of content blocks → the chat messages of the tensor contract. Pure.

Results of tools come in user messages and become messages of their own, before what the user says;
their images stand with what the user says, because templates have no place for them in a result.
"""

import re
from typing import Any

import orjson

from frontend.dialects.fields import Fields
from frontend.domain.generation import ImageLink
from frontend.errors import InvalidRequest

_MEDIA = ("image/png", "image/jpeg", "image/gif", "image/webp")
_BASE64 = re.compile(r"[A-Za-z0-9+/=]*")
_SEEN = ("text", "image", "tool_use", "tool_result", "thinking", "redacted_thinking", "document")
_PROVIDERS = ("redacted_thinking", "server_tool_use", "mcp_tool_use", "container_upload")
"""What an assistant said for its provider's eyes, or to tools that ran there."""

Message = dict[str, Any]


def read_system(fields: Fields) -> list[Message]:
    """Takes `system`: nothing, a text, or text blocks."""
    given = fields.take("system")
    if given is None:
        return []
    text = given if isinstance(given, str) else "\n\n".join(_texts(given, fields.at("system")))
    return [{"role": "system", "content": text}] if text else []


def read_messages(fields: Fields, most: int, images: list[ImageLink]) -> list[Message]:
    """Takes `messages`; what they refer to goes into `images`, in order."""
    given = fields.required("messages")
    if not isinstance(given, list) or not given:
        raise InvalidRequest("messages: at least one message is required", param="messages")
    if len(given) > most:
        raise fields.refuse("messages", f"has {len(given)} entries, at most {most} are allowed")
    return [
        message
        for index, one in enumerate(given)
        for message in _message(Fields(one, f"messages[{index}]"), images)
    ]


def _message(fields: Fields, images: list[ImageLink]) -> list[Message]:
    role = fields.choice("role", ("user", "assistant", "system"))
    if role is None:
        raise fields.refuse("role", "is required", code="missing_required_parameter")
    content = fields.required("content")
    fields.finish()
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    if not isinstance(content, list):
        raise fields.refuse("content", "must be a string or a list of content blocks")
    blocks = [Fields(one, fields.at(f"content[{index}]")) for index, one in enumerate(content)]
    if role == "assistant":
        return [_assistant(blocks)]
    if role == "system":
        return [{"role": role, "content": "\n\n".join(_texts(content, fields.at("content")))}]
    return _user(blocks, images)


def _user(blocks: list[Fields], images: list[ImageLink]) -> list[Message]:
    results: list[Message] = []
    parts: list[dict[str, str]] = []
    for block in blocks:
        kind = _kind(block)
        if kind == "tool_result":
            results.append(_result(block, parts, images))
        elif kind in ("text", "image", "document"):
            parts.append(_part(block, kind, images))
        else:
            raise block.refuse("type", f"is {kind!r}, which only assistants say")
    if not parts:
        return results or [{"role": "user", "content": ""}]
    seen = any(part["type"] == "image" for part in parts)
    content = parts if seen else "\n\n".join(part["text"] for part in parts)
    return [*results, {"role": "user", "content": content}]


def _assistant(blocks: list[Fields]) -> Message:
    texts, thoughts, calls = [], [], []
    for block in blocks:
        kind = block.text("type") or ""
        if kind == "text":
            texts.append(_required_text(block))
        elif kind == "thinking":
            thoughts.append(block.text("thinking") or "")
        elif kind == "tool_use":
            calls.append(_call(block))
        elif kind not in _PROVIDERS and not kind.endswith("_tool_result"):
            raise block.refuse("type", f"is {kind[:60]!r}, which assistants do not say")
        block.leave()  # whatever an SDK keeps beside what a model said
    message: Message = {"role": "assistant", "content": "".join(texts)}
    if calls:
        message["tool_calls"] = calls
    if any(thoughts):
        message["reasoning_content"] = "".join(thoughts)
    return message


def _kind(block: Fields) -> str:
    kind = block.choice("type", _SEEN)
    if kind is None:
        raise block.refuse("type", "is required", code="missing_required_parameter")
    return kind


def _required_text(block: Fields) -> str:
    text = block.text("text")
    if text is None:
        raise block.refuse("text", "is required", code="missing_required_parameter")
    return text


def _text(block: Fields) -> str:
    text = _required_text(block)
    block.mapping("cache_control")
    block.take("citations")  # of an answer that is sent back
    block.finish()
    return text


def _texts(given: object, path: str) -> list[str]:
    if not isinstance(given, list):
        raise InvalidRequest(f"'{path}' must be a string or a list of text blocks", param=path)
    texts = []
    for index, one in enumerate(given):
        block = Fields(one, f"{path}[{index}]")
        if _kind(block) != "text":
            raise block.refuse("type", "must be 'text' here")
        texts.append(_text(block))
    return texts


def _part(block: Fields, kind: str, images: list[ImageLink]) -> dict[str, str]:
    if kind == "text":
        return {"type": "text", "text": _text(block)}
    source = block.inner("source")
    if source is None:
        raise block.refuse("source", "is required", code="missing_required_parameter")
    if kind == "document":
        return {"type": "text", "text": _document(block, source)}
    images.append(_image(source))
    block.mapping("cache_control")
    block.finish()
    return {"type": "image"}


def _image(source: Fields) -> ImageLink:
    kind = source.choice("type", ("base64", "url"))
    if kind is None:
        raise source.refuse("type", "is required", code="missing_required_parameter")
    name = "data" if kind == "base64" else "url"
    value = source.text(name)
    media = source.choice("media_type", _MEDIA)
    if not value:
        raise source.refuse(name, "is required", code="missing_required_parameter")
    if kind == "base64":
        if media is None:
            raise source.refuse("media_type", "is required", code="missing_required_parameter")
        if not _BASE64.fullmatch(value[:64]):  # the rest is checked where it is decoded
            raise source.refuse("data", "is not valid base64")
        value = f"data:{media};base64,{value}"
    elif not value.lower().startswith("https:"):
        raise source.refuse("url", "must begin with 'https:'")
    source.finish()
    return ImageLink(value, source.at(name))


def _document(block: Fields, source: Fields) -> str:
    """Plain text is text; a model here reads nothing else."""
    if source.choice("type", ("text", "base64", "url", "content", "file")) != "text":
        raise InvalidRequest(
            f"'{source.at('type')}' must be 'text': models here read no files; send their text",
            param=source.at("type"),
            code="unsupported_content",
        )
    source.choice("media_type", ("text/plain",))
    text = source.text("data")
    if text is None:
        raise source.refuse("data", "is required", code="missing_required_parameter")
    source.finish()
    heads = [block.text("title"), block.text("context")]
    block.mapping("cache_control")
    citations = block.inner("citations")
    if citations is not None:
        citations.only("enabled", (False,), "answers carry no citations")
        citations.finish()
    block.finish()
    return "\n".join([*(head for head in heads if head), text])


def _call(block: Fields) -> dict[str, Any]:
    call_id, name, given = block.text("id"), block.text("name"), block.mapping("input")
    for field, value in (("id", call_id), ("name", name), ("input", given)):
        if value is None:
            raise block.refuse(field, "is required", code="missing_required_parameter")
    block.mapping("cache_control")
    function = {"name": name, "arguments": orjson.dumps(given).decode()}
    return {"id": call_id, "type": "function", "function": function}


def _result(block: Fields, parts: list[dict[str, str]], images: list[ImageLink]) -> Message:
    call_id = block.text("tool_use_id")
    if not call_id:
        raise block.refuse("tool_use_id", "is required", code="missing_required_parameter")
    failed = block.boolean("is_error")
    content = block.take("content")
    block.mapping("cache_control")
    block.finish()
    if isinstance(content, list):
        texts = []
        for index, one in enumerate(content):
            inner = Fields(one, block.at(f"content[{index}]"))
            part = _part(inner, _result_kind(inner), images)
            if part["type"] == "image":
                parts.append(part)
            else:
                texts.append(part["text"])
        content = "\n".join(texts)
    elif content is not None and not isinstance(content, str):
        raise block.refuse("content", "must be a string or a list of content blocks")
    said = f"Error: {content or ''}" if failed else content or ""
    return {"role": "tool", "tool_call_id": call_id, "content": said}


def _result_kind(block: Fields) -> str:
    if (kind := _kind(block)) not in ("text", "image", "document"):
        raise block.refuse("type", f"is {kind!r}; results hold text and images")
    return kind
