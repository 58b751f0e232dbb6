"""Converts strings, numbers and listed values for the grammar (xgrammar 0.2.8, measured).

Each function converts a flat schema, and notes what the result leaves out or why no value matches.
"""

import math
from decimal import Decimal
from typing import Any

import jsonschema_rs

from frontend.schemas.merge import Node, types_of
from frontend.schemas.notes import Notes
from frontend.schemas.patterns import InvalidPattern, read_pattern

FORMATS = frozenset(
    {
        *("email", "date", "time", "date-time", "duration", "ipv4", "ipv6", "hostname", "uuid"),
        *("uri", "uri-reference", "uri-template"),  # xgrammar's 'json-pointer' allows bare quotes
    }
)
MAX_REPEATS = 4096
"""Only the check of the finished answer counts longer strings and lists."""
# doubles are exact up to 2^53, and the engine reads numbers as doubles
_LARGE = {"integer": 2**53, "number": 10**15}
_DECIMALS = 6
_COMPARABLE = frozenset(
    {
        *("type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        *("required", "uniqueItems"),
    }
)


def convert_values(node: Node, notes: Notes) -> Node | None:
    """`enum` or `const`, without the values that the other keywords forbid; None for no value."""
    keyword = "enum" if "enum" in node else "const"
    listed: list[Any] = node["enum"] if keyword == "enum" else [node["const"]]
    rest = {name: value for name, value in node.items() if name in _COMPARABLE}
    if rest.get("type") == []:  # the merged schemas have no type in common
        listed = []
    values = [one for one in listed if jsonschema_rs.is_valid(rest, one, offline=True)]
    if not values:
        notes.contradict(node, keyword, "has no value that the other keywords of the schema allow")
        return None
    if any(_is_misread(one) for one in values):
        notes.note(node, keyword)
        return {"type": types_of(node["type"])} if "type" in node else {}
    return {"const": values[0]} if len(values) == 1 else {"enum": values}


def _is_misread(value: Any) -> bool:
    """Whether the engine reads a value as a schema, or a number as another one."""
    if isinstance(value, list):
        return any(map(_is_misread, value))
    if isinstance(value, dict):
        return "type" in value or "allOf" in value or any(map(_is_misread, value.values()))
    return isinstance(value, int | float) and abs(value) >= 2**53


def convert_string(node: Node, notes: Notes) -> Node | None:
    """`pattern`, else `format`, else the length: the engine enforces one of them."""
    least, most = node.get("minLength", 0), node.get("maxLength", math.inf)
    if least > most:
        notes.contradict(node, "minLength", f"is {least}, which is above 'maxLength'")
        return None
    bounded = [name for name in ("minLength", "maxLength") if name in node]
    text = _pattern(node, notes) if "pattern" in node else None
    if text is not None or node.get("format") in FORMATS:
        for name in bounded:
            notes.note(node, name)
        restriction = {"format": node["format"]} if text is None else {"pattern": text}
        return {"type": "string", **restriction}
    converted: Node = {"type": "string"}
    for name in bounded:
        if node[name] > MAX_REPEATS:
            notes.note(node, name)
        # `minLength: 0` does not restrict anything
        elif node[name] or name == "maxLength":
            converted[name] = int(node[name])
    return converted


def _pattern(node: Node, notes: Notes) -> str | None:
    try:
        pattern = read_pattern(node["pattern"])
    except InvalidPattern:  # the check of the answer may support it
        notes.note(node, "pattern")
        return None
    if not pattern.exact or pattern.text is None:
        notes.note(node, "pattern")
    return pattern.text


def convert_number(node: Node, kind: str, notes: Notes) -> Node | None:
    """Bounds; `multipleOf` is left to the check."""
    if "multipleOf" in node:
        notes.note(node, "multipleOf")
    low = _bound(node, "minimum", "exclusiveMinimum")
    high = _bound(node, "maximum", "exclusiveMaximum")
    if kind == "integer":
        low = None if low is None else (_next_whole(*low), False)
        high = None if high is None else (-_next_whole(-high[0], high[1]), False)
    if low and high and (low[0] > high[0] or (low[0] == high[0] and (low[1] or high[1]))):
        at = "minimum" if "minimum" in node else "exclusiveMinimum"
        notes.contradict(node, at, "is above the greatest number that is allowed")
        return None
    converted: Node = {"type": kind}
    for bound, name in ((low, "minimum"), (high, "maximum")):
        if bound is None:
            continue
        exclusive = f"exclusive{name.capitalize()}"
        if abs(bound[0]) >= _LARGE[kind] or _decimals(bound[0]) > _DECIMALS:
            notes.note(node, name if name in node else exclusive)
        else:
            converted[exclusive if bound[1] else name] = bound[0]
    return converted


def _bound(node: Node, inclusive: str, exclusive: str) -> tuple[float, bool] | None:
    """(the number, whether it is excluded); of two bounds the stricter one."""
    closed, opened = node.get(inclusive), node.get(exclusive)
    if opened is None or closed is None:
        return (closed, False) if opened is None and closed is not None else _open(opened)
    stricter = opened >= closed if inclusive == "minimum" else opened <= closed
    return (opened, True) if stricter else (closed, False)


def _open(bound: float | None) -> tuple[float, bool] | None:
    return None if bound is None else (bound, True)


def _next_whole(number: float, exclusive: bool) -> int:
    return math.floor(number) + 1 if exclusive else math.ceil(number)


def _decimals(number: float) -> int:
    return max(0, -int(Decimal(repr(number)).normalize().as_tuple().exponent))
