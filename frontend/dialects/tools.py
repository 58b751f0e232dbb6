"""Functions that the client runs: names and schemas, for all dialects. Pure."""

import re
from collections.abc import Sequence
from typing import Any

from frontend.dialects.refusal import refuse
from frontend.domain.structure import SchemaUse
from frontend.domain.tools import Choice, Function, Named, Tools

# OpenAI's own limit
MAX_TOOLS = 128
NAME_RULE = "must be 1 to 128 letters, digits, '_', '-' or '.'"
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_ANY: dict[str, Any] = {"type": "object", "properties": {}}


def make_function(
    path: str,
    name: str,
    description: str | None,
    schema: tuple[str, dict[str, Any] | None],
    strict: bool | None,
) -> Function:
    """One function. `schema` is that of its arguments, with the field's name before it."""
    if not _NAME.fullmatch(name):
        raise refuse(f"{path}.name", NAME_RULE)
    field, parameters = schema
    if parameters and parameters.get("type", "object") != "object":
        raise refuse(f"{path}.{field}", "must be a schema of type 'object'")
    return Function(name, parameters or _ANY, description, strict)


def check_unique(functions: Sequence[Function], place: str) -> None:
    """Raises InvalidRequest for a name that is used twice; `place` leads to a function's name."""
    seen = set()
    for index, function in enumerate(functions):
        if function.name in seen:
            raise refuse(place.format(index), f"is {function.name!r}, the name of another tool")
        seen.add(function.name)


def check_known(path: str, name: str | None, functions: Sequence[Function]) -> str:
    """The name of one of the functions. Raises InvalidRequest for any other."""
    if name is None or all(name != one.name for one in functions):
        raise refuse(path, f"is {str(name)[:64]!r}, which is not one of the 'tools'")
    return name


def schemas_of(tools: Tools, place: str) -> tuple[SchemaUse, ...]:
    """The schemas of the functions' arguments; `place` is the field where a dialect has one."""
    return tuple(
        _schema_use(function, place.format(index), tools.choice)
        for index, function in enumerate(tools.declared)
    )


def _schema_use(function: Function, path: str, choice: Choice) -> SchemaUse:
    """In a forced call the engine holds the model to the schema also where it is not strict."""
    strict = function.strict is True
    forced = choice in ("required", Named(function.name))
    return SchemaUse(path, function.parameters, function.name, strict, enforced=strict or forced)
