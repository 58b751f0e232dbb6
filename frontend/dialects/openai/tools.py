"""Tools: what a request may call, whether it must, the calls in its messages; and calls in replies.

Pure. The engine enforces and reads calls; here they are checked and told in OpenAI's shape.
"""

from typing import Any

import orjson

from frontend.dialects.fields import Fields
from frontend.dialects.tools import ToolUse, make_use, names_of, take_function, take_tools

MAX_CALLS = 1024  # in one message
_LEGACY = "is not supported: it was replaced by {}; send that"


def read_tools(fields: Fields) -> ToolUse:
    """Takes `tools`, `tool_choice` and `parallel_tool_calls`; refuses their forerunners by name."""
    if fields.exhausted:
        return ToolUse()
    if fields.take("functions"):
        raise fields.refuse("functions", _LEGACY.format("'tools'"), code="unsupported_parameter")
    if fields.take("function_call") not in (None, "none", "auto"):
        raise fields.refuse(
            "function_call", _LEGACY.format("'tool_choice'"), code="unsupported_parameter"
        )
    tools = take_tools(fields, _tool, "function.name")
    choice, callable_tools = _choice(fields, tools)
    parallel = fields.boolean("parallel_tool_calls")
    return make_use(tools, (choice, callable_tools), parallel, "tools[{}].function.parameters")


def _tool(fields: Fields) -> dict[str, Any]:
    fields.choice("type", ("function",))
    function = fields.inner("function")
    if function is None:
        raise fields.refuse("function", "is required", code="missing_required_parameter")
    told = take_function(function, "parameters")
    for part in (function, fields):
        part.take("cache_control")  # prefixes are cached without being asked
        part.finish()
    return told


def _choice(fields: Fields, tools: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """The choice as the engine takes it, and the tools that it leaves."""
    given = fields.take("tool_choice")
    if given in (None, "auto", "none"):
        return given or "auto", tools
    if not tools:
        raise fields.refuse("tool_choice", "is only allowed with 'tools'")
    if given == "required":
        return given, tools
    if not isinstance(given, dict):
        raise fields.refuse("tool_choice", "must be 'auto', 'none', 'required' or a function")
    choice = Fields(given, fields.at("tool_choice"))
    if choice.choice("type", ("function", "allowed_tools")) == "allowed_tools":
        return _allowed(choice, tools)
    name = _named(choice, tools)
    choice.finish()
    return {"name": name}, tools


def _named(choice: Fields, tools: list[dict[str, Any]]) -> str:
    function = choice.inner("function")
    name = function.text("name") if function is not None else None
    if function is None or name is None:
        raise choice.refuse("function.name", "is required", code="missing_required_parameter")
    function.finish()
    if name not in names_of(tools):
        raise choice.refuse("function.name", f"is {name[:64]!r}, which is none of the 'tools'")
    return name


def _allowed(choice: Fields, tools: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    inner = choice.inner("allowed_tools")
    choice.finish()
    if inner is None:
        raise choice.refuse("allowed_tools", "is required", code="missing_required_parameter")
    mode = inner.choice("mode", ("auto", "required")) or "auto"
    listed = inner.take("tools")
    if not isinstance(listed, list) or not listed:
        raise inner.refuse("tools", "must be a non-empty list of functions")
    names = set()
    for index, one in enumerate(listed):
        entry = Fields(one, inner.at(f"tools[{index}]"))
        entry.choice("type", ("function",))
        names.add(_named(entry, tools))
        entry.finish()
    inner.finish()
    return mode, [tool for tool in tools if tool["function"]["name"] in names]


def read_calls(message: Fields) -> list[dict[str, Any]]:
    """Takes an assistant message's `tool_calls`, or the call that there was before them."""
    given = message.take("tool_calls")
    if (legacy := message.inner("function_call")) is not None and not given:
        return [{"type": "function", "function": _function(legacy)}]
    given = [] if given is None else given
    if not isinstance(given, list) or len(given) > MAX_CALLS:
        raise message.refuse("tool_calls", f"must be a list of at most {MAX_CALLS} calls")
    return [_call(Fields(c, message.at(f"tool_calls[{i}]"))) for i, c in enumerate(given)]


def _call(fields: Fields) -> dict[str, Any]:
    """A call as any server's SDK holds it: what else it has (`index`, what was parsed) is left."""
    fields.choice("type", ("function",))
    call_id = fields.text("id")
    function = fields.inner("function")
    if function is None:
        raise fields.refuse("function", "is required", code="missing_required_parameter")
    call: dict[str, Any] = {"type": "function"}
    if call_id is not None:
        call["id"] = call_id
    return {**call, "function": _function(function)}


def _function(function: Fields) -> dict[str, str]:
    name = function.text("name")
    arguments = function.one_of_types("arguments", (str, dict), "a JSON object as a string")
    if not name:
        raise function.refuse("name", "is required", code="missing_required_parameter")
    if isinstance(arguments, dict):
        arguments = orjson.dumps(arguments).decode()
    return {"name": name, "arguments": arguments or "{}"}


def join_calls(deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The calls of a reply from all their deltas."""
    joined: dict[int, dict[str, Any]] = {}
    for delta in deltas:
        call = joined.setdefault(delta["index"], {"id": "", "name": "", "arguments": []})
        call["id"] = delta.get("id") or call["id"]
        call["name"] = delta.get("name") or call["name"]
        call["arguments"].append(delta["arguments"])
    return [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": "".join(call["arguments"])},
        }
        for _, call in sorted(joined.items())
    ]


def render_call_delta(delta: dict[str, Any]) -> dict[str, Any]:
    """One delta in a chunk: id, type and name come once."""
    if "id" not in delta:
        return {"index": delta["index"], "function": {"arguments": delta["arguments"]}}
    function = {"name": delta.get("name"), "arguments": delta["arguments"]}
    return {"index": delta["index"], "id": delta["id"], "type": "function", "function": function}
