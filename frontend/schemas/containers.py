"""Converts arrays and objects to schemas that the grammar enforces (xgrammar 0.2.8, measured).

There arrays and objects are closed by default, so each schema written here says whether it is open.
The engine cannot distinguish an object's own names from others when JSON escapes them or they are
not ASCII; such an object is closed.
"""

import contextlib
import math
from collections.abc import Callable

from frontend.schemas.keywords import Schema, table
from frontend.schemas.merge import Node, both
from frontend.schemas.notes import Notes
from frontend.schemas.patterns import InvalidPattern, read_pattern
from frontend.schemas.scalars import MAX_REPEATS

Child = Callable[[Schema], "Node | None"]
"""Converts the schema of a part; None when no value matches it."""
_MAX_COUNTED = 1000
"""Names times `minProperties` or `maxProperties`: the size of the automaton that counts them."""
_CHECKED_IN_ARRAYS = ("contains", "minContains", "maxContains")
_CHECKED_IN_OBJECTS = ("dependentRequired", "dependentSchemas", "dependencies")


def convert_array(node: Node, child: Child, notes: Notes) -> Node | None:
    """`prefixItems`, `items` and the number of items."""
    listed, rest = node.get("prefixItems", []), node.get("items", True)
    least, most = int(node.get("minItems", 0)), node.get("maxItems", math.inf)
    for name in _CHECKED_IN_ARRAYS:
        if name in node:
            notes.note(node, name)
    if node.get("uniqueItems") is True:
        notes.note(node, "uniqueItems")
    # `contains` alone demands one item
    if "contains" in node and node.get("minContains", 1) > 0:
        least = max(least, 1)
    if least > most:
        notes.contradict(node, "minItems", f"is {least}, which is above 'maxItems'")
        return None
    heads: list[Node] = []
    for one in listed[: int(min(most, len(listed)))]:
        converted = child(one)
        # no value fits here, so an array can only be shorter
        if converted is None:
            most = len(heads)
            break
        heads.append(converted)
    # only where such an item can exist: its contradictions would be nobody's mistake
    tail = child(rest) if most > len(heads) else None
    if tail is None:
        most = min(most, len(heads))
    if least > most:
        notes.contradict(
            node, "minItems", f"is {least}, but there can be at most {int(most)} items"
        )
        return None
    return _write_array(node, (heads, tail), (least, most), notes)


def _write_array(
    node: Node, parts: tuple[list[Node], Node | None], counts: tuple[int, float], notes: Notes
) -> Node:
    heads, tail = parts
    converted: Node = {"type": "array"}
    if heads:
        converted["prefixItems"] = heads
    converted["items"] = tail if tail is not None else False
    if tail is None and not heads:
        return converted
    for name, count, free in (("minItems", counts[0], 0), ("maxItems", counts[1], math.inf)):
        if count == free or (name == "maxItems" and tail is None and count == len(heads)):
            continue
        if count > MAX_REPEATS:
            notes.note(node, name)
        else:
            converted[name] = int(count)
    return converted


def convert_object(node: Node, child: Child, notes: Notes) -> Node | None:
    """Properties in the order of the schema, and others if the engine can distinguish them."""
    for name in _CHECKED_IN_OBJECTS:
        if name in node:
            notes.note(node, name)
    required = list(dict.fromkeys(node.get("required", [])))
    others = _others(node, notes)
    schemas = dict(table(node.get("properties")))
    for name in required:
        if name not in schemas and others is False:
            notes.contradict(
                node, "required", f"has {name[:60]!r}, which cannot be the name of a property"
            )
            return None
        schemas.setdefault(name, others)
    properties = {name: child(schema) for name, schema in schemas.items()}
    if any(properties[name] is None for name in required):
        return None
    allowed = {name: converted for name, converted in properties.items() if converted is not None}
    converted: Node = {"type": "object"}
    if allowed or "properties" in node:
        converted["properties"] = allowed
    if required:
        converted["required"] = required
    converted |= _open(node, allowed, (child(others), child), notes)
    return converted if _count(node, converted, notes) else None


def _others(node: Node, notes: Notes) -> Schema:
    """The schema of properties without a schema of their own; includes patterns."""
    given: Schema = node.get("additionalProperties", True)
    patterns = table(node.get("patternProperties"))
    if not patterns or (len(patterns) == 1 and not node.get("properties")):
        return given
    notes.note(node, "patternProperties")
    if given is False:
        return {"anyOf": list(patterns.values())}
    return given


def _open(
    node: Node, allowed: dict[str, Node], rest: tuple[Node | None, Child], notes: Notes
) -> Node:
    """The keywords for properties that the schema does not name."""
    others, child = rest
    patterns = table(node.get("patternProperties"))
    explicit = others is not None and ("additionalProperties" in node or bool(patterns))
    needed = others is not None and node.get("minProperties", 0) > len(allowed)
    if allowed or "properties" in node:
        if "propertyNames" in node:
            notes.note(node, "propertyNames")
        if not (explicit or needed) or not all(map(is_plain, allowed)):
            return {"additionalProperties": False}
    elif len(patterns) == 1:
        return _keyed_by_pattern(node, rest, notes)
    elif "propertyNames" in node and others is not None:
        names = child(both({"type": "string"}, node["propertyNames"]))
        if names is None:
            return {"additionalProperties": False}
        if names != {"type": "string"}:
            return {"propertyNames": names, "additionalProperties": others or True}
    return {"additionalProperties": False if others is None else others or True}


def _keyed_by_pattern(node: Node, rest: tuple[Node | None, Child], notes: Notes) -> Node:
    others, child = rest
    ((source, schema),) = table(node["patternProperties"]).items()
    value = child(schema)
    if "propertyNames" in node:
        notes.note(node, "propertyNames")
    text, exact = None, False
    with contextlib.suppress(InvalidPattern):
        pattern = read_pattern(source)
        text, exact = pattern.text, pattern.exact
    if value is None or text is None or not exact:
        notes.note(node, "patternProperties")
    if value is not None and text is not None:
        return {"patternProperties": {text: value}, "additionalProperties": False}
    free = others if others is not None else value
    return {"additionalProperties": False if free is None else free or True}


def _count(node: Node, converted: Node, notes: Notes) -> bool:
    """Adds the number of properties to `converted`; False when no object can have that many."""
    least, most = node.get("minProperties", 0), node.get("maxProperties", math.inf)
    names = converted.get("properties", {})
    closed = converted["additionalProperties"] is False and "patternProperties" not in converted
    if least > most or (closed and least > len(names)):
        at_most = most if least > most else len(names)
        notes.contradict(node, "minProperties", f"is {least}, but there can be at most {at_most:g}")
        return False
    if len(converted.get("required", ())) > most:
        notes.contradict(
            node,
            "maxProperties",
            f"is {most}, which is less than the number of 'required' properties",
        )
        return False
    for name in ("minProperties", "maxProperties"):
        if name not in node:
            continue
        counted = node[name] * max(1, len(names)) <= _MAX_COUNTED
        if not counted or (name == "minProperties" and least > 0 and not closed):
            notes.note(node, name)  # a grammar counts a repeated name twice
        if counted:
            converted[name] = int(node[name])
    return True


def is_plain(name: str) -> bool:
    """Whether a name is ASCII and JSON does not escape it."""
    return name.isascii() and name.isprintable() and not {'"', "\\"} & set(name)
