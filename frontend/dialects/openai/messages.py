"""The messages of `/v1/chat/completions` as the chat template takes them. Pure.

What an assistant said may come back as any server's SDK holds it, so fields of its messages that
change no prompt are left aside. All other messages hold what is known, or are refused by name.
"""

from collections.abc import Callable
from typing import Any

from frontend.dialects.fields import Fields
from frontend.dialects.openai.tools import read_calls
from frontend.domain.generation import ImageLink
from frontend.errors import InvalidRequest

Message = dict[str, Any]
Part = dict[str, str]

_NO_EFFECT = ("cache_control", "prompt_cache_breakpoint", "id", "annotations", "provider_options")
"""Hints for caches and marks of clients: they change no answer."""


def read_messages(fields: Fields, most: int, images: list[ImageLink]) -> list[Message]:
    """Takes `messages`; what they refer to goes into `images`, in order."""
    messages = fields.required("messages")
    if not isinstance(messages, list) or not messages:
        raise fields.refuse("messages", "must be a list of at least one message")
    if len(messages) > most:
        raise fields.refuse("messages", f"has {len(messages)} entries, at most {most} are allowed")
    return [
        _message(Fields(message, f"messages[{index}]"), images)
        for index, message in enumerate(messages)
    ]


def _message(fields: Fields, images: list[ImageLink]) -> Message:
    role = fields.choice("role", _READERS)
    if role is None:
        raise fields.refuse("role", "is required", code="missing_required_parameter")
    return _READERS[role](fields, images)


def _said(fields: Fields, images: list[ImageLink], role: str) -> Message:
    """A message of anyone but the assistant."""
    content = _content(fields, images)
    if content is None:
        raise fields.refuse("content", "is required", code="missing_required_parameter")
    message: Message = {"role": role, "content": content}
    if fields.exhausted:
        return message
    if (name := fields.text("name")) is not None:
        message["name"] = name
    for field in ("tool_calls", "function_call"):
        fields.only(field, ([],), "only assistant messages have calls")
    for field in ("refusal", "reasoning_content", "reasoning"):
        fields.only(field, ("",), "only assistant messages have it")
    fields.only("audio", (), "this model takes no audio")
    _leave(fields)
    return message


def _system(fields: Fields, images: list[ImageLink]) -> Message:
    fields.only("tool_call_id", (), "only messages of the role 'tool' have it")
    return _said(fields, images, "system")


def _user(fields: Fields, images: list[ImageLink]) -> Message:
    fields.only("tool_call_id", (), "only messages of the role 'tool' have it")
    return _said(fields, images, "user")


def _tool(fields: Fields, images: list[ImageLink]) -> Message:
    call_id = fields.text("tool_call_id")
    if not call_id:
        raise fields.refuse("tool_call_id", "is required", code="missing_required_parameter")
    for field in ("status", "is_error", "artifact"):  # of frameworks' own messages
        fields.take(field)
    return {**_said(fields, images, "tool"), "tool_call_id": call_id}


def _function(fields: Fields, images: list[ImageLink]) -> Message:
    """What was a tool's message before there were tools."""
    fields.only("tool_call_id", (), "only messages of the role 'tool' have it")
    message = _said(fields, images, "tool")
    if not message.get("name"):
        raise fields.refuse("name", "is required", code="missing_required_parameter")
    return message


def _assistant(fields: Fields, images: list[ImageLink]) -> Message:
    """A text, calls, or what stands for them: a refusal, the words of an audio, thoughts alone."""
    thoughts = [text for name in _THOUGHTS if (text := _thought(fields, name))][:1]
    content = _content(fields, images, thoughts)
    calls = read_calls(fields)
    if content in (None, ""):
        content = fields.text("refusal") or _spoken(fields) or content
    if content is None and not calls and not thoughts:
        raise fields.refuse(
            "content", "is required where there are no 'tool_calls'",
            code="missing_required_parameter",
        )  # fmt: skip
    message: Message = {"role": "assistant", "content": content or ""}
    if calls:
        message["tool_calls"] = calls
    if name := fields.text("name"):
        message["name"] = name
    if thoughts:
        message["reasoning_content"] = thoughts[0]
    for field in ("prefix", "partial"):
        fields.only(field, (False,), "send 'continue_final_message'")
    fields.leave()
    return message


_THOUGHTS = ("reasoning_content", "reasoning", "thinking")


def _thought(fields: Fields, name: str) -> str:
    """Some servers tell thoughts as text, others as objects of their own, which are left aside."""
    thought = fields.take(name)
    return thought if isinstance(thought, str) else ""


def _spoken(fields: Fields) -> str | None:
    audio = fields.take("audio")
    if audio is None:
        return None
    words = audio.get("transcript") if isinstance(audio, dict) else None
    if not isinstance(words, str) or not words:
        raise fields.refuse("audio", "has no 'transcript', and this model takes no audio")
    return words


_READERS: dict[str, Callable[[Fields, list[ImageLink]], Message]] = {
    "system": _system,
    "developer": _system,
    "user": _user,
    "assistant": _assistant,
    "tool": _tool,
    "function": _function,
}


def _content(
    fields: Fields, images: list[ImageLink], thoughts: list[str] | None = None
) -> str | list[Part] | None:
    """A string; text parts joined as the chat templates want them; or parts, if some are images.

    `thoughts`: the message is an assistant's, and those that stand in its content go there.
    """
    content = fields.take("content")
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise fields.refuse("content", "must be a string or a list of content parts")
    before = len(images)
    parts: list[Part] = []
    for index, value in enumerate(content):
        part = Fields(value, fields.at(f"content[{index}]"))
        if thoughts is None:
            parts.append(_part(part, part.text("type"), images))
        elif (told := _told(part, images, thoughts)) is not None:
            parts.append(told)
    if len(images) > before:
        return parts
    if thoughts is not None and not parts:
        return None
    return "".join(part["text"] for part in parts)


def _part(part: Fields, kind: str | None, images: list[ImageLink]) -> Part:
    if kind == "image_url":
        images.append(_image(part))
        return {"type": "image"}
    if kind != "text":
        raise _untaken(part, kind)
    text = _required(part, "text")
    _leave(part)
    return {"type": "text", "text": text}


def _told(part: Fields, images: list[ImageLink], thoughts: list[str]) -> Part | None:
    """A part of what an assistant said; None for what is no content."""
    kind = part.text("type")
    if kind in ("thinking", "reasoning", "redacted_thinking"):
        thought = part.take("thinking") or part.take("text")
        if isinstance(thought, list):  # Mistral's have parts of their own
            thought = "".join(str(one.get("text", "")) for one in thought if isinstance(one, dict))
        if isinstance(thought, str) and thought:
            thoughts[:] = ["".join([*thoughts, thought])]
        return None
    name = {"text": "text", "output_text": "text", "refusal": "refusal"}.get(kind or "")
    if name is None:
        return _part(part, kind, images)
    return {"type": "text", "text": _required(part, name)}


def _required(part: Fields, name: str) -> str:
    text = part.text(name)
    if text is None:
        raise part.refuse(name, "is required", code="missing_required_parameter")
    return text


def _untaken(part: Fields, kind: str | None) -> InvalidRequest:
    if kind is None:
        return part.refuse("type", "is required", code="missing_required_parameter")
    return part.refuse(
        "type", f"is {kind[:60]!r}; text and images are taken", code="unsupported_content"
    )


def _image(part: Fields) -> ImageLink:
    inner = part.inner("image_url")
    url = None if inner is None else inner.text("url")
    if inner is None or not url:
        raise part.refuse("image_url.url", "is required", code="missing_required_parameter")
    if not url.lower().startswith(("https:", "data:")):
        raise inner.refuse("url", "must begin with 'https:' or 'data:'")
    inner.choice("detail", ("auto", "low", "high", "original"))  # the model has one way to look
    inner.finish()
    _leave(part)
    return ImageLink(url, inner.at("url"))


def _leave(fields: Fields) -> None:
    """Takes what changes no answer. Raises InvalidRequest for anything else that is left."""
    if fields.exhausted:
        return
    for name in _NO_EFFECT:
        fields.take(name)
    fields.finish()
