"""Anthropic's tools, and the choice of one. Pure."""

from typing import Annotated, Any, Literal

from frontend.dialects.declare import Body, Object, about
from frontend.dialects.refusal import refuse
from frontend.dialects.tools import (
    NAME_RULE,
    check_known,
    check_unique,
    make_function,
    schemas_of,
)
from frontend.domain.structure import SchemaUse
from frontend.domain.tools import Choice, Function, Named, Tools

_KINDS = "only 'custom' tools, which the client runs, are supported"


class ToolBody(Body, kw_only=True):
    """A function that the model may call and you run."""

    type: Annotated[Literal["custom"] | None, about("Always 'custom'.", unknown=(_KINDS, None))] = (
        None
    )
    input_schema: Annotated[Object, about("The JSON schema of the arguments.")]
    name: Annotated[str, about("1 to 128 letters, digits, '_', '-' or '.'.", missing=NAME_RULE)]
    description: Annotated[str | None, about("What the function does, for the model.")] = None
    strict: Annotated[bool | None, about("Accepted: arguments always match the schema.")] = None
    cache_control: Annotated[Any, about("Accepted and not needed.")] = None
    input_examples: Annotated[Any, about("Ignored.")] = None
    eager_input_streaming: Annotated[Any, about("Ignored.")] = None


class ToolChoice(Body, kw_only=True):
    """Whether the model must call a function, and which."""

    type: Annotated[
        Literal["auto", "any", "tool", "none"], about("Whether the model must call a tool.")
    ]
    disable_parallel_tool_use: Annotated[
        bool | None, about("Whether an answer contains at most one call.")
    ] = None
    name: Annotated[str | None, about("With 'tool': the function to call.")] = None


def make_tools(
    tools: list[ToolBody] | None, choice: ToolChoice | None
) -> tuple[Tools | None, tuple[SchemaUse, ...]]:
    """The canonical tools, and the schemas of their arguments. Raises InvalidRequest, naming the
    field, for a name or choice that is not valid."""
    functions = tuple(_function(tool, f"tools[{i}]") for i, tool in enumerate(tools or ()))
    check_unique(functions, "tools[{}].name")
    chosen = "auto" if choice is None else _choose(choice, functions)
    if not functions:
        return None, ()
    single = None if choice is None else choice.disable_parallel_tool_use
    made = Tools(functions, functions, chosen, None if single is None else not single)
    return made, schemas_of(made, "tools[{}].input_schema")


def _function(tool: ToolBody, path: str) -> Function:
    schema = ("input_schema", tool.input_schema)
    return make_function(path, tool.name, tool.description, schema, tool.strict)


def _choose(choice: ToolChoice, functions: tuple[Function, ...]) -> Choice:
    kind = choice.type
    if kind in ("any", "tool") and not functions:
        raise refuse("tool_choice", f"is {kind!r}, which requires 'tools'")
    if kind == "tool":
        return Named(check_known("tool_choice.name", choice.name, functions))
    if kind == "any":
        return "required"
    return "none" if kind == "none" else "auto"
