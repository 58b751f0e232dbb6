"""The messages of a chat, and the request for the next answer. Pure, except for saved files.

Invariant: `messages` can always be sent, because a question that failed is removed.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.chat.client import Piece
from toolkit.chat.parameters import read_parameter, request_fields
from toolkit.chat.paths import expand
from toolkit.errors import UsageError


@dataclass(slots=True)
class Answer:
    """One answer while it is streamed."""

    text: str = ""
    reasoning: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)

    def add(self, piece: Piece) -> None:
        """Takes the next piece of the stream."""
        self.text += piece.text
        self.reasoning += piece.reasoning
        self.finish_reason = piece.finish_reason or self.finish_reason
        self.usage = dict(piece.usage or self.usage)
        for delta in piece.calls:
            self._add_call(delta)

    def _add_call(self, delta: dict[str, Any]) -> None:
        index = int(delta.get("index", len(self.calls)))
        while len(self.calls) <= index:
            empty = {"name": "", "arguments": ""}
            self.calls.append({"id": "", "type": "function", "function": empty})
        call, function = self.calls[index], delta.get("function") or {}
        call["id"] = delta.get("id") or call["id"]
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""

    def message(self) -> dict[str, Any]:
        """The answer as a message of the conversation."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        return message | ({"tool_calls": self.calls} if self.calls else {})


TEMPERATURE = 0.7
"""Unless another one is set. At 1, the default of the APIs, small models often write nonsense."""


@dataclass(slots=True)
class Conversation:
    """Messages, the system prompt, parameters, tools and images that wait for a question."""

    model: str
    system: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=lambda: {"temperature": TEMPERATURE})
    tools: list[dict[str, Any]] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    remembers: bool = True

    def set(self, name: str, text: str) -> str:
        """Sets a parameter, or removes it for `default`; returns its name. Raises UsageError if the
        name or the value is not valid."""
        name, value = read_parameter(name, text)
        if value is None:
            self.parameters.pop(name, None)
        else:
            self.parameters[name] = value
        return name

    def ask(self, text: str) -> None:
        """Adds a question with the images that wait."""
        content: Any = text
        if self.images:
            content = [{"type": "text", "text": text}] if text else []
            content += [{"type": "image_url", "image_url": {"url": url}} for url in self.images]
            self.images = []
        if not self.remembers:
            self.messages.clear()
        self.messages.append({"role": "user", "content": content})

    def body(self) -> dict[str, Any]:
        """The request for the next answer."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        body = {"model": self.model, "messages": [*system, *self.messages]}
        return (
            body | request_fields(self.parameters) | ({"tools": self.tools} if self.tools else {})
        )

    def save(self, path: Path) -> None:
        """Writes it as JSON that only this user can read."""
        saved = {"model": self.model, "system": self.system, "messages": self.messages}
        text = json.dumps(saved, indent=2, ensure_ascii=False)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"{text}\n")

    def load(self, path: Path) -> None:
        """Continues with a saved conversation. Raises UsageError if the file is not one."""
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            messages, system = saved["messages"], saved.get("system", "")
            is_valid = isinstance(messages, list) and all(
                isinstance(each, dict) and "role" in each for each in messages
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{path} cannot be loaded: {error}", hint="name a file that /save FILE wrote"
            ) from error
        if not is_valid or not isinstance(system, str):
            raise UsageError(f"{path} is not a saved conversation", hint="/save FILE writes one")
        self.messages, self.system = messages, system


def read_tools(path: Path) -> list[dict[str, Any]]:
    """Tools from a JSON file: OpenAI's list, or functions without their `type`. UsageError."""
    try:
        found = json.loads(expand(str(path)).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}", hint="name a JSON file with a list of tools"
        ) from error
    tools = found if isinstance(found, list) else [found]
    if not all(isinstance(each, dict) for each in tools):
        raise UsageError(
            f"{path} is not a list of tools",
            hint="it must have the format of OpenAI's field `tools`",
        )
    return [
        each if "function" in each else {"type": "function", "function": each} for each in tools
    ]
