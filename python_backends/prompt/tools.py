"""Converts tools and calls in a conversation to the form that a model's template expects.

A template without tool support would silently drop them. For such a model they are described in the
system message, and calls and results in the messages, in the format of the Hermes models (tool
calls as JSON between `<tool_call>` marks), which the engine's fallback parser reads.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from python_backends.errors import InvalidInput

Message = dict[str, Any]

_INSTRUCTIONS = (
    "You can call functions. They are listed below, one JSON object per line, with a JSON schema of"
    " their parameters:\n{tools}\n"
    "To call one, answer with a JSON object between marks, and do so again for each further call:\n"
    '<tool_call>\n{{"name": "the function", "arguments": {{"a parameter": "its value"}}}}\n'
    "</tool_call>\n"
    "The results come between <tool_response> marks. When no function helps, answer as usual."
)


def with_objects(message: Mapping[str, Any]) -> Message:
    """A message whose calls hold their arguments as objects, which templates write as JSON.

    Raises InvalidInput for arguments that are not a JSON object.
    """
    calls = message.get("tool_calls")
    if not calls:
        # Llama 3.1's template tests whether the key exists, and fails for an empty list
        return {name: value for name, value in message.items() if name != "tool_calls"}
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise InvalidInput("'tool_calls' is not a list of objects", param="messages")
    return {**message, "tool_calls": [_with_object(call) for call in calls]}


def _with_object(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise InvalidInput("a tool call has no function with a name", param="messages")
    # OpenAI's API has "" for a function without parameters
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError as error:
            raise InvalidInput(
                f"the arguments of a call of '{function['name']}' are not valid JSON: {error}",
                param="messages",
            ) from error
    if not isinstance(arguments, dict):
        raise InvalidInput(
            f"the arguments of a call of '{function['name']}' are not a JSON object",
            param="messages",
        )
    return {**call, "function": {**function, "arguments": arguments}}


def as_text(messages: Sequence[Message], tools: Sequence[Any]) -> list[Message]:
    """The conversation for a template without tool support."""
    plain: list[Message] = []
    for message in messages:
        if message["role"] in ("tool", "function"):
            _add_result(plain, message.get("content"))
        elif message.get("tool_calls"):
            plain.append({"role": message["role"], "content": _written(message)})
        else:
            plain.append(message)
    return _with_system(plain, _instructions(tools)) if tools else plain


def _instructions(tools: Sequence[Any]) -> str:
    functions = [tool.get("function", tool) if isinstance(tool, dict) else tool for tool in tools]
    lines = "\n".join(json.dumps(function, ensure_ascii=False) for function in functions)
    return _INSTRUCTIONS.format(tools=lines)


def _with_system(messages: list[Message], text: str) -> list[Message]:
    # one system message: many templates accept only the first, or refuse a second
    if messages and messages[0]["role"] == "system":
        first = messages[0]
        return [{**first, "content": _join(first.get("content"), "\n\n", text)}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


def _join(*contents: Any) -> Any:
    """Contents behind each other: a text, or a list of parts where one of them is a list."""
    given = [content for content in contents if content]
    if not any(isinstance(content, list) for content in given):
        return "".join(map(str, given))
    parts: list[Any] = []
    for content in given:
        parts += content if isinstance(content, list) else [{"type": "text", "text": str(content)}]
    return parts


def _add_result(messages: list[Message], content: Any) -> None:
    """Results that follow one another are one message: many templates want roles to alternate."""
    result = _join("<tool_response>\n", content, "\n</tool_response>")
    if messages and messages[-1].get("is_result"):
        messages[-1] = {**messages[-1], "content": _join(messages[-1]["content"], "\n", result)}
    else:
        messages.append({"role": "user", "content": result, "is_result": True})


def _written(message: Message) -> Any:
    """An assistant's message with its calls in the format that the system message describes."""
    parts = []
    for call in message["tool_calls"]:
        function = call["function"]
        body = {"name": function["name"], "arguments": function["arguments"]}
        parts.append(f"<tool_call>\n{json.dumps(body, ensure_ascii=False)}\n</tool_call>")
    content = message.get("content")
    return _join(content, "\n" if content else "", "\n".join(parts))
