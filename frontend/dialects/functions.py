"""Tools and the choice of one, in the shape shared by OpenAI's chat and Ollama. Pure."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from frontend.dialects.declare import Body, Object, about
from frontend.dialects.refusal import MISSING, refuse
from frontend.dialects.tools import (
    MAX_TOOLS,
    NAME_RULE,
    check_known,
    check_unique,
    make_function,
    schemas_of,
)
from frontend.domain.structure import SchemaUse
from frontend.domain.tools import Choice, Function, Named, Tools

TOOLS = about("Functions that the model may call.", says="must be a list of tools")
CHOICE = about(
    "Whether the model must call a function, and which.",
    says="must be 'auto', 'none', 'required' or a function",
)
PARALLEL = about("Whether one answer may have several calls.")


class FunctionBody(Body, kw_only=True):
    """A function that the model may call and you run."""

    name: Annotated[str, about("1 to 128 letters, digits, '_', '-' or '.'.", missing=NAME_RULE)]
    description: Annotated[str | None, about("What the function does, for the model.")] = None
    parameters: Annotated[Object | None, about("The JSON schema of the arguments.")] = None
    strict: Annotated[bool | None, about("Accepted: arguments always match the schema.")] = None
    cache_control: Annotated[Any, about("Accepted and not needed.")] = None


class ToolBody(Body, kw_only=True):
    """A tool: a function."""

    type: Annotated[Literal["function"] | None, about("Always 'function'.")] = None
    function: Annotated[FunctionBody, about("The function.")]
    cache_control: Annotated[Any, about("Accepted and not needed.")] = None


class NamedFunction(Body, kw_only=True):
    """A function by its name."""

    name: Annotated[str | None, about("The name of one of the tools.")] = None


class NamedTool(Body, kw_only=True):
    """A tool by its function's name."""

    type: Annotated[Literal["function"] | None, about("Always 'function'.")] = None
    function: Annotated[NamedFunction | None, about("The function.")] = None


class AllowedTools(Body, kw_only=True):
    """Some of the tools."""

    mode: Annotated[
        Literal["auto", "required"] | None, about("Whether the model must call one of them.")
    ] = None
    tools: Annotated[
        Annotated[list[NamedTool], Meta(min_length=1)],
        about("The tools that the model may call.", says="must be a non-empty list of functions",
              missing="must be a non-empty list of functions"),
    ]  # fmt: skip


class ToolChoice(Body, kw_only=True):
    """The tool that the model must call, or those that it may call."""

    type: Annotated[
        Literal["function", "allowed_tools"] | None, about("The kind of this entry.")
    ] = None
    function: Annotated[NamedFunction | None, about("The function to call.")] = None
    allowed_tools: Annotated[AllowedTools | None, about("The tools that may be called.")] = None


ToolList = Annotated[list[ToolBody], Meta(max_length=MAX_TOOLS)]
ChoiceBody = Literal["auto", "none", "required"] | ToolChoice


def make_tools(
    tools: list[ToolBody] | None,
    choice: str | ToolChoice | None,
    parallel: bool | None,
) -> tuple[Tools | None, tuple[SchemaUse, ...]]:
    """The canonical tools, and the schemas of their arguments. Raises InvalidRequest, naming the
    field, for a name or choice that is not valid."""
    # an empty list counts as absent: clients send it for "not now" (vLLM #39741)
    if not tools:
        if choice not in (None, "auto", "none"):
            raise refuse("tool_choice", "is only allowed with 'tools'")
        return None, ()
    functions = tuple(_function(index, tool.function) for index, tool in enumerate(tools))
    check_unique(functions, "tools[{}].function.name")
    chosen, allowed = _choose(choice, functions)
    made = Tools(functions, allowed, chosen, parallel)
    return made, schemas_of(made, "tools[{}].function.parameters")


def _function(index: int, body: FunctionBody) -> Function:
    path, schema = f"tools[{index}].function", ("parameters", body.parameters)
    return make_function(path, body.name, body.description, schema, body.strict)


def _choose(choice: Any, functions: tuple[Function, ...]) -> tuple[Choice, tuple[Function, ...]]:
    """The choice, and the functions that it leaves."""
    if not isinstance(choice, ToolChoice):
        return choice or "auto", functions
    if choice.type != "allowed_tools":
        if choice.allowed_tools is not None:
            raise refuse("tool_choice.allowed_tools", "requires the type 'allowed_tools'")
        return Named(_name(choice.function, "tool_choice", functions)), functions
    given = choice.allowed_tools
    if choice.function is not None:
        raise refuse("tool_choice.function", "requires the type 'function'")
    if given is None:
        raise refuse("tool_choice.allowed_tools", "is required", code=MISSING)
    names = {
        _name(one.function, f"tool_choice.allowed_tools.tools[{index}]", functions)
        for index, one in enumerate(given.tools)
    }
    return given.mode or "auto", tuple(one for one in functions if one.name in names)


def _name(function: NamedFunction | None, path: str, functions: tuple[Function, ...]) -> str:
    if function is None or function.name is None:
        raise refuse(f"{path}.function.name", "is required", code=MISSING)
    return check_known(f"{path}.function.name", function.name, functions)
