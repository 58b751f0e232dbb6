"""Reads and checks the form and the messages of a request's `prompt` object.

Every field is used or refused. It does not depend on a tokenizer. Pure.
"""

from collections.abc import Mapping
from typing import Any

from python_backends.errors import InvalidInput

_BOUNDS = ("context_length", "truncate")
_FORMS = {
    "messages": {
        "tools",
        "chat_template_kwargs",
        "reasoning_effort",
        "add_generation_prompt",
        "continue_final_message",
        "prefix_token_ids",
        "add_special_tokens",
        "tokenize",
        *_BOUNDS,
    },
    "text": {"add_special_tokens", "suffix", "tokenize", *_BOUNDS},
    "token_ids": set[str](),
    "decode": set[str](),
}


def form_of(prompt: Mapping[str, Any]) -> str:
    forms = [name for name in _FORMS if prompt.get(name) is not None]
    if len(forms) != 1:
        raise InvalidInput(
            f"the prompt has {forms or 'none'} of 'messages', 'text', 'token_ids', 'decode'; send"
            " exactly one",
            param="prompt",
        )
    form = forms[0]
    # a field of another form would be ignored silently
    if unknown := sorted(set(prompt) - _FORMS[form] - {form}):
        raise InvalidInput(
            f"unknown field '{unknown[0]}' next to '{form}'",
            code="unknown_parameter",
            param=unknown[0],
        )
    return form


def messages_of(prompt: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    messages = prompt["messages"]
    if not isinstance(messages, list) or not messages:
        raise InvalidInput("'messages' must be a list with at least one message", param="messages")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InvalidInput(
                f"message {number} is not an object with a 'role'", param=f"messages[{number}]"
            )
    return messages


def flatten(message: Mapping[str, Any], takes_images: bool) -> dict[str, Any]:
    """The message with its content as one string, as templates of text models expect.

    Content with images stays a list of parts; the images are sent beside the prompt.
    """
    content = message.get("content")
    if not isinstance(content, list):
        return {**message, "content": "" if content is None else content}
    for part in content:
        _check_part(part, takes_images)
    if any(part["type"] == "image" for part in content):
        return {**message, "content": content}
    # line feeds between parts, as vLLM joins them for templates of text models
    return {**message, "content": "\n".join(part["text"] for part in content)}


def _check_part(part: Any, takes_images: bool) -> None:
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    # an image part is a place only; the files come in the tensor `images`, in order
    if kind == "image" and takes_images and set(part) == {"type"}:
        return
    if kind != "text" or not isinstance(part.get("text"), str):
        taken = "text and image parts" if takes_images else "text parts"
        raise InvalidInput(
            f"messages contain a part of type '{kind}'; this model supports only {taken}",
            code="unsupported_content",
            param="messages",
        )


def texts_of(content: Any) -> list[str]:
    """The texts of a message's content, a string or parts."""
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else ()
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return [text for text in texts if isinstance(text, str)]
