"""Merges schemas that apply to the same value: `allOf`, and the siblings of `$ref`.

A keyword that cannot be merged is left out and noted, and the result then allows more. Alternatives
(`anyOf`, `oneOf`) stay separate under `CHOICES`, one entry for each keyword.
"""

from collections.abc import Callable
from typing import Any

from frontend.schemas.keywords import Schema, table

CHOICES = "choices"
Node = dict[str, Any]
Note = Callable[[str], None]
"""Takes the name of a keyword that was left out."""

_LARGEST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains")
_SMALLEST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains")
_OBJECTS = ("properties", "additionalProperties")
_ARRAYS = ("prefixItems", "items")
NEVER: Node = {"type": []}
"""A schema without a valid value."""


def merge(first: Node, second: Node, note: Note) -> Node:
    """A schema that both imply. It allows more than both where a keyword was noted."""
    merged = dict(first)
    # together, since `additionalProperties` depends on the `properties` beside it
    if any(name in side for name in _OBJECTS for side in (first, second)):
        merged |= _merge_objects(first, second)
        second = {name: value for name, value in second.items() if name not in _OBJECTS}
    # `items` depends on `prefixItems` in the same way
    if "prefixItems" in first or "prefixItems" in second:
        merged |= _merge_arrays(first, second)
        second = {name: value for name, value in second.items() if name not in _ARRAYS}
    for name, value in second.items():
        if name not in merged:
            merged[name] = value
        elif merged[name] != value:
            merged[name] = _merge_keyword(name, merged[name], value, note)
    if "enum" in merged and "const" in merged:
        merged["enum"] = common(merged["enum"], [merged.pop("const")])
    if merged.get("enum") == []:
        merged["type"] = []
    return merged


def _merge_keyword(name: str, first: Any, second: Any, note: Note) -> Any:
    if name in _LARGEST and _are_numbers(first, second):
        return max(first, second)
    if name in _SMALLEST and _are_numbers(first, second):
        return min(first, second)
    if name == "type":
        return _common_types(first, second)
    if name == "required":
        return [*first, *(one for one in second if one not in first)]
    if name == "enum":
        return common(first, second)
    if name == CHOICES:
        return [*first, *second]
    if name in ("items", "propertyNames"):
        return both(first, second)
    if name == "uniqueItems":
        return first or second
    # the first one alone allows more than both, which is the safe side
    note(name)
    return first


def _merge_objects(first: Node, second: Node) -> Node:
    """Properties, named and others: each must match the keywords of both sides."""
    names = [*table(first.get("properties")), *table(second.get("properties"))]
    properties: dict[str, Schema] = {}
    for name in names:
        schema: Schema = True
        for side in (first, second):
            own = table(side.get("properties"))
            if name in own:
                schema = both(schema, own[name])
            # a pattern may match the name, and then `additionalProperties` does not apply to it
            elif "additionalProperties" in side and not side.get("patternProperties"):
                schema = both(schema, side["additionalProperties"])
        properties[name] = schema
    named = "properties" in first or "properties" in second
    merged: Node = {"properties": properties} if named else {}
    others = [
        side["additionalProperties"] for side in (first, second) if "additionalProperties" in side
    ]
    if others:
        merged["additionalProperties"] = both(others[0], others[-1])
    return merged


def _merge_arrays(first: Node, second: Node) -> Node:
    heads = [side.get("prefixItems", []) for side in (first, second)]
    rests = [side.get("items", True) for side in (first, second)]
    merged: Node = {"prefixItems": []}
    for at in range(max(map(len, heads))):
        pair = [
            head[at] if at < len(head) else rest for head, rest in zip(heads, rests, strict=True)
        ]
        merged["prefixItems"].append(both(*pair))
    if "items" in first or "items" in second:
        merged["items"] = both(*rests)
    return merged


def both(first: Schema, second: Schema) -> Schema:
    """A schema that matches when both do."""
    if first is second or second is True or second == {} or first is False:
        return first
    if first is True or first == {} or second is False:
        return second
    return {"allOf": [first, second]}


def common(first: list[Any], second: list[Any]) -> list[Any]:
    """The values that are in both lists; 1 and true are different ones."""
    return [one for one in first if any(_same(one, other) for other in second)]


def _same(first: Any, second: Any) -> bool:
    return first == second and isinstance(first, bool) is isinstance(second, bool)


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)


def _common_types(first: Any, second: Any) -> list[str]:
    one, other = types_of(first), types_of(second)
    names = [name for name in one if name in other]
    # an integer satisfies both
    if ("integer" in one and "number" in other) or ("number" in one and "integer" in other):
        names = [*(name for name in names if name not in ("integer", "number")), "integer"]
    return names


def types_of(given: Any) -> list[str]:
    """The value of `type` as a list."""
    return [given] if isinstance(given, str) else list(given)
