"""Tools as every dialect means them: functions that the client runs, with a name and a schema."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from frontend.dialects.fields import Fields
from frontend.domain.structure import SchemaUse

MAX_TOOLS = 128
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")


@dataclass(frozen=True, slots=True)
class ToolUse:
    """`tools` is for the chat template, `reply` for the engine (the tensor contract).

    `schemas` are those of the functions' arguments, which nobody has checked yet.
    """

    tools: list[dict[str, Any]] = field(default_factory=list)
    reply: dict[str, Any] = field(default_factory=dict)
    schemas: tuple[SchemaUse, ...] = ()


def take_tools(
    fields: Fields, read: Callable[[Fields], dict[str, Any]], name_at: str = "name"
) -> list[dict[str, Any]]:
    """Takes `tools`; `read` makes of each what `take_function` returns.

    Raises InvalidRequest for too many, and for a name that comes twice, which stands at `name_at`.
    """
    given = fields.take("tools")
    given = [] if given is None else given
    if not isinstance(given, list):
        raise fields.refuse("tools", "must be a list of tools")
    if len(given) > MAX_TOOLS:
        raise fields.refuse("tools", f"has {len(given)} entries, at most {MAX_TOOLS} are allowed")
    functions = [read(Fields(tool, f"tools[{index}]")) for index, tool in enumerate(given)]
    names = names_of(tools := [{"type": "function", "function": each} for each in functions])
    for index, name in enumerate(names):
        if name in names[:index]:
            raise fields.refuse(f"tools[{index}].{name_at}", f"is {name!r} a second time")
    return tools


def take_function(fields: Fields, schema_at: str) -> dict[str, Any]:
    """Takes `name`, `description`, the schema of the arguments at `schema_at`, and `strict`."""
    name = fields.text("name")
    if name is None or not _NAME.fullmatch(name):
        raise fields.refuse("name", "must be 1 to 128 letters, digits, '_', '-' or '.'")
    told: dict[str, Any] = {"name": name}
    if (description := fields.text("description")) is not None:
        told["description"] = description
    schema, strict = fields.mapping(schema_at), fields.boolean("strict")
    if schema and schema.get("type", "object") != "object":
        raise fields.refuse(schema_at, "must be a schema of type 'object'")
    told["parameters"] = schema or {"type": "object", "properties": {}}
    return told if strict is None else {**told, "strict": strict}


def names_of(tools: list[dict[str, Any]]) -> list[str]:
    """The functions' names, in order."""
    return [tool["function"]["name"] for tool in tools]


def make_use(
    tools: list[dict[str, Any]],
    chosen: tuple[Any, list[dict[str, Any]]],
    parallel: bool | None,
    place: str,
) -> ToolUse:
    """What tools mean for template and engine; `place` is where a dialect has a tool's schema."""
    if not tools:
        return ToolUse()
    choice, callable_tools = chosen
    schemas = tuple(
        _schema_use(tool["function"], place.format(index), choice)
        for index, tool in enumerate(tools)
    )
    reply: dict[str, Any] = {"tools": callable_tools, "tool_choice": choice}
    if parallel is not None:
        reply["parallel_tool_calls"] = parallel
    return ToolUse(tools, reply, schemas)


def _schema_use(function: dict[str, Any], path: str, choice: Any) -> SchemaUse:
    """In a forced call the engine holds the model to the schema also where it is not strict."""
    name, strict = function["name"], function.get("strict") is True
    forced = choice == "required" or (isinstance(choice, dict) and choice["name"] == name)
    return SchemaUse(path, function["parameters"], name, strict, enforced=strict or forced)
