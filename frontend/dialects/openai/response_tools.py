"""The tools of `/v1/responses`, which declare functions directly. Pure."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from frontend.dialects.declare import Body, Object, Off, about
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

_KINDS = "only 'function' tools, which the client runs, are supported"


class ResponseTool(Body, kw_only=True):
    """A function that the model may call and you run."""

    type: Annotated[
        Literal["function"] | None,
        about("Always 'function'.", unknown=(_KINDS, "unsupported_tool")),
    ] = None
    name: Annotated[str | None, about("1 to 128 letters, digits, '_', '-' or '.'.")] = None
    description: Annotated[str | None, about("What the function does, for the model.")] = None
    parameters: Annotated[Object | None, about("The JSON schema of the arguments.")] = None
    strict: Annotated[bool | None, about("Accepted: arguments always match the schema.")] = None
    defer_loading: Annotated[
        Off | None, about("Only false: tools are not searched.", reason="tools are not searched")
    ] = None


class NamedResponseTool(Body, kw_only=True):
    """A function by its name."""

    type: Annotated[Literal["function"] | None, about("Always 'function'.")] = None
    name: Annotated[str | None, about("The name of one of the tools.")] = None


class ResponseChoice(Body, kw_only=True):
    """The function that the model must call, or the tools that it may call."""

    type: Annotated[
        Literal["function", "allowed_tools"] | None, about("The kind of this entry.")
    ] = None
    name: Annotated[str | None, about("The function to call.")] = None
    mode: Annotated[
        Literal["auto", "required"] | None, about("Whether the model must call one of the tools.")
    ] = None
    tools: Annotated[
        Annotated[list[NamedResponseTool], Meta(min_length=1)] | None,
        about("The tools that may be called.", says="must be a non-empty list of functions"),
    ] = None


def make_tools(
    tools: list[ResponseTool] | None, choice: str | ResponseChoice | None, parallel: bool | None
) -> tuple[Tools | None, tuple[SchemaUse, ...]]:
    """The canonical tools, and the schemas of their arguments. Raises InvalidRequest, naming the
    field, for a name or choice that is not valid."""
    if not tools:
        if choice not in (None, "auto", "none"):
            raise refuse("tool_choice", "is only allowed with 'tools'")
        return None, ()
    functions = tuple(_function(tool, f"tools[{index}]") for index, tool in enumerate(tools))
    check_unique(functions, "tools[{}].name")
    chosen, allowed = _choose(choice, functions)
    made = Tools(functions, allowed, chosen, parallel)
    return made, schemas_of(made, "tools[{}].parameters")


def _function(tool: ResponseTool, path: str) -> Function:
    if tool.type != "function":
        raise refuse(f"{path}.type", f"is 'None'; {_KINDS}", code="unsupported_tool")
    if tool.name is None:
        raise refuse(f"{path}.name", NAME_RULE)
    schema = ("parameters", tool.parameters)
    return make_function(path, tool.name, tool.description, schema, tool.strict)


def _choose(choice: Any, functions: tuple[Function, ...]) -> tuple[Choice, tuple[Function, ...]]:
    """The choice, and the functions that it leaves."""
    if not isinstance(choice, ResponseChoice):
        return choice or "auto", functions
    if choice.type == "function":
        for name in ("mode", "tools"):
            if getattr(choice, name) is not None:
                raise refuse(f"tool_choice.{name}", "requires the type 'allowed_tools'")
        return Named(check_known("tool_choice.name", choice.name, functions)), functions
    if choice.name is not None:
        raise refuse("tool_choice.name", "requires the type 'function'")
    if choice.tools is None:
        raise refuse("tool_choice.tools", "must be a non-empty list of functions")
    names = {
        check_known(f"tool_choice.tools[{index}].name", one.name, functions)
        for index, one in enumerate(choice.tools)
    }
    return choice.mode or "auto", tuple(one for one in functions if one.name in names)
