"""What a grammar can hold of strings, numbers and listed values (xgrammar 0.2.8, measured).

Each function makes the grammar's schema of a flat one and reports to `Fit` what it omitted, or that
there is no valid value.
"""

import math
from decimal import Decimal
from typing import Any, Protocol

import jsonschema_rs

from frontend.schemas.merge import Node, types_of
from frontend.schemas.patterns import InvalidPattern, read_pattern

FORMATS = frozenset(
    {
        *("email", "date", "time", "date-time", "duration", "ipv4", "ipv6", "hostname", "uuid"),
        *("uri", "uri-reference", "uri-template"),  # its JSON pointers hold bare quotes
    }
)
MOST_REPEATS = 4096
"""Longer strings and lists are counted in the finished answer only."""
_LARGE = {"integer": 2**53, "number": 10**15}
_DECIMALS = 6
_COMPARABLE = frozenset(
    {
        *("type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        *("required", "uniqueItems"),
    }
)


class Fit(Protocol):
    """Where the functions report to; `node` is the schema in question."""

    def note(self, node: Node, keyword: str) -> None:
        """The keyword is left to the check of the finished answer."""

    def never(self, node: Node, keyword: str, problem: str) -> None:
        """No value fits. Raises InvalidRequest where that must be the caller's mistake."""


def fit_values(node: Node, fit: Fit) -> Node | None:
    """`enum` or `const`, without the values that the other keywords forbid; None for no value."""
    keyword = "enum" if "enum" in node else "const"
    listed: list[Any] = node["enum"] if keyword == "enum" else [node["const"]]
    rest = {name: value for name, value in node.items() if name in _COMPARABLE}
    if rest.get("type") == []:  # what was merged leaves none
        listed = []
    values = [one for one in listed if jsonschema_rs.is_valid(rest, one, offline=True)]
    if not values:
        fit.never(node, keyword, "has no value that the keywords beside it allow")
        return None
    if any(_is_misread(one) for one in values):
        fit.note(node, keyword)
        return {"type": types_of(node["type"])} if "type" in node else {}
    return {"const": values[0]} if len(values) == 1 else {"enum": values}


def _is_misread(value: Any) -> bool:
    """Whether the engine takes a value for a schema, or a number for another one."""
    if isinstance(value, list):
        return any(map(_is_misread, value))
    if isinstance(value, dict):
        return "type" in value or "allOf" in value or any(map(_is_misread, value.values()))
    return isinstance(value, int | float) and abs(value) >= 2**53


def fit_string(node: Node, fit: Fit) -> Node | None:
    """`pattern`, else `format`, else the length: the engine can hold one of them."""
    least, most = node.get("minLength", 0), node.get("maxLength", math.inf)
    if least > most:
        fit.never(node, "minLength", f"is {least}, which is above 'maxLength'")
        return None
    bounded = [name for name in ("minLength", "maxLength") if name in node]
    text = _pattern(node, fit) if "pattern" in node else None
    if text is not None or node.get("format") in FORMATS:
        for name in bounded:
            fit.note(node, name)
        held = {"format": node["format"]} if text is None else {"pattern": text}
        return {"type": "string", **held}
    made: Node = {"type": "string"}
    for name in bounded:
        if node[name] > MOST_REPEATS:
            fit.note(node, name)
        elif node[name] or name == "maxLength":
            made[name] = int(node[name])
    return made


def _pattern(node: Node, fit: Fit) -> str | None:
    try:
        pattern = read_pattern(node["pattern"])
    except InvalidPattern:  # the check of the answer may know it
        fit.note(node, "pattern")
        return None
    if not pattern.exact or pattern.text is None:
        fit.note(node, "pattern")
    return pattern.text


def fit_number(node: Node, kind: str, fit: Fit) -> Node | None:
    """Bounds; `multipleOf` is left out."""
    if "multipleOf" in node:
        fit.note(node, "multipleOf")
    low = _bound(node, "minimum", "exclusiveMinimum")
    high = _bound(node, "maximum", "exclusiveMaximum")
    if kind == "integer":
        low = None if low is None else (_next_whole(*low), False)
        high = None if high is None else (-_next_whole(-high[0], high[1]), False)
    if low and high and (low[0] > high[0] or (low[0] == high[0] and (low[1] or high[1]))):
        at = "minimum" if "minimum" in node else "exclusiveMinimum"
        fit.never(node, at, "is above the greatest number that is allowed")
        return None
    made: Node = {"type": kind}
    for bound, name in ((low, "minimum"), (high, "maximum")):
        if bound is None:
            continue
        exclusive = f"exclusive{name.capitalize()}"
        if abs(bound[0]) >= _LARGE[kind] or _decimals(bound[0]) > _DECIMALS:
            fit.note(node, name if name in node else exclusive)
        else:
            made[exclusive if bound[1] else name] = bound[0]
    return made


def _bound(node: Node, inclusive: str, exclusive: str) -> tuple[float, bool] | None:
    """(the number, whether it is left out); of two bounds the stricter one."""
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
