"""Tool calls of models whose backend does not read them: asked for by a schema, read here. Pure.

A call that must be made is the whole answer, in JSON that the grammar enforces. A call that
the model may make is read in the two formats that most templates teach: JSON in `<tool_call>` tags
(Hermes, Qwen), or an answer that is nothing but JSON with a function's name (Llama, Mistral).
"""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from frontend.domain.events import Event
from frontend.domain.generation import Generation
from frontend.domain.structure import Structure
from frontend.domain.tools import Function, Named, Tools
from frontend.upstreams.remote import unsupported

_OPENING = "<tool_call>"
_TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.DOTALL)
_ANY_OBJECT: dict[str, Any] = {"type": "object"}


def may_call(generation: Generation) -> bool:
    """Whether the answer may have calls."""
    tools = generation.tools
    return tools is not None and bool(tools.allowed) and tools.choice != "none"


def force_calls(generation: Generation, engine: str) -> Generation:
    """The generation with the schema of a call that must be made: then the call is the answer.

    Raises InvalidRequest for a structure beside calls that may be made: it would forbid them.
    """
    tools, structure = generation.tools, generation.structure
    if tools is None or not may_call(generation):
        return generation
    if tools.choice == "auto":
        if structure is not None and structure.kind is not None:
            unsupported(structure.path, f"{engine}, together with 'tools'")
        return generation
    schema = _schema(tools)
    return replace(generation, structure=Structure("json", schema, "tool_choice"))


def _schema(tools: Tools) -> dict[str, Any]:
    if isinstance(tools.choice, Named):
        name = tools.choice.name
        return next(_arguments(one) for one in tools.allowed if one.name == name)
    calls = [
        {
            "type": "object",
            "properties": {"name": {"enum": [one.name]}, "arguments": _arguments(one)},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for one in tools.allowed
    ]
    most = {"maxItems": 1} if tools.parallel is False else {}
    return {"type": "array", "minItems": 1, **most, "items": {"anyOf": calls}}


def _arguments(function: Function) -> dict[str, Any]:
    """The schema of the arguments; a reference would not be found at another depth."""
    schema = function.parameters
    if not schema or b'"$ref"' in orjson.dumps(schema):
        return _ANY_OBJECT
    return schema if "type" in schema else {**schema, "type": "object"}


@dataclass(slots=True)
class CallReading:
    """The calls of one answer, as it arrives: text is held back while it may be one."""

    tools: Tools
    _held: str = ""
    _calling: bool = field(default=False)
    _begun: bool = field(default=False)

    def read(self, event: Event) -> Event:
        """The event with what is known to be text; the last one with the calls."""
        self._held += event.text
        event.text = ""
        if self.tools.choice == "auto" and not self._calling:
            event.text = self._take_text()
        if event.finish_reason is not None:
            self._finish(event)
        return event

    def _take_text(self) -> str:
        held = self._held
        if not self._begun:
            start = held.lstrip()
            if start[:1] in ("{", "["):
                self._calling = True
                return ""
            if not start or _OPENING.startswith(start):
                return ""
        at = held.find(_OPENING)
        if at < 0:
            sizes = range(len(_OPENING) - 1, 0, -1)
            at = len(held) - next((n for n in sizes if held.endswith(_OPENING[:n])), 0)
        else:
            self._calling = True
        self._begun = True
        self._held = held[at:]
        return held[:at]

    def _finish(self, event: Event) -> None:
        held, self._held = self._held, ""
        calls = self._calls(held) if held.strip() else None
        # a call that was cut is not one: its client would run something else
        if calls is not None and event.finish_reason == "stop":
            if self.tools.parallel is False:
                calls = calls[:1]
            event.tool_calls = [_delta(n, *call) for n, call in enumerate(calls)]
            event.finish_reason = "tool_calls"
        elif self.tools.choice == "auto" and not held.lstrip().startswith(_OPENING):
            event.text += held
        else:
            event.unread = held

    def _calls(self, text: str) -> list[tuple[str, str]] | None:
        """Names and arguments; None for a text that has anything else."""
        try:
            if isinstance(self.tools.choice, Named):
                return _named([{"name": self.tools.choice.name, "arguments": orjson.loads(text)}])
            tagged = _TAGGED.findall(text)
            made = [orjson.loads(one) for one in tagged] if tagged else orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        calls = _named(made if isinstance(made, list) else [made])
        known = {one.name for one in self.tools.allowed}
        return calls if calls and all(name in known for name, _ in calls) else None


def _named(made: Iterable[Any]) -> list[tuple[str, str]] | None:
    calls = []
    for one in made:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            return None
        arguments = one.get("arguments", one.get("parameters", {}))
        if not isinstance(arguments, dict):
            return None
        calls.append((one["name"], orjson.dumps(arguments).decode()))
    return calls


def _delta(number: int, name: str, arguments: str) -> dict[str, Any]:
    made = {"index": number, "id": f"call_{uuid.uuid4().hex[:24]}", "name": name}
    return made | {"arguments": arguments}
