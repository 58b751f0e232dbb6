"""What a grammar can hold of arrays and objects (xgrammar 0.2.8, measured).

Its arrays and objects are closed unless told otherwise, so that each one made here says what it is.
Where the engine cannot tell an object's own names from others (names that JSON escapes, or beyond
ASCII), the object has no others.
"""

import contextlib
import math
from collections.abc import Callable

from frontend.schemas.keywords import Schema, table
from frontend.schemas.merge import Node, both
from frontend.schemas.patterns import InvalidPattern, read_pattern
from frontend.schemas.scalars import MOST_REPEATS, Fit

Child = Callable[[Schema], "Node | None"]
"""Fits a schema of a part; None when no value fits it."""
_MOST_COUNTED = 1000
"""Names times `minProperties` or `maxProperties`: the size of the automaton that counts them."""
_CHECKED_ITEMS = ("contains", "minContains", "maxContains")
_CHECKED_NAMES = ("dependentRequired", "dependentSchemas", "dependencies")


def fit_array(node: Node, child: Child, fit: Fit) -> Node | None:
    """`prefixItems`, `items` and the number of items."""
    listed, rest = node.get("prefixItems", []), node.get("items", True)
    least, most = int(node.get("minItems", 0)), node.get("maxItems", math.inf)
    for name in _CHECKED_ITEMS:
        if name in node:
            fit.note(node, name)
    if node.get("uniqueItems") is True:
        fit.note(node, "uniqueItems")
    if "contains" in node and node.get("minContains", 1) > 0:
        least = max(least, 1)
    if least > most:
        fit.never(node, "minItems", f"is {least}, which is above 'maxItems'")
        return None
    heads: list[Node] = []
    for one in listed[: int(min(most, len(listed)))]:
        made = child(one)
        if made is None:
            most = len(heads)
            break
        heads.append(made)
    tail = child(rest) if most > len(heads) else None
    if tail is None:
        most = min(most, len(heads))
    if least > most:
        fit.never(node, "minItems", f"is {least}, but there can be at most {int(most)} items")
        return None
    return _write_array(node, (heads, tail), (least, most), fit)


def _write_array(
    node: Node, parts: tuple[list[Node], Node | None], counts: tuple[int, float], fit: Fit
) -> Node:
    heads, tail = parts
    made: Node = {"type": "array"}
    if heads:
        made["prefixItems"] = heads
    made["items"] = tail if tail is not None else False
    if tail is None and not heads:
        return made
    for name, count, free in (("minItems", counts[0], 0), ("maxItems", counts[1], math.inf)):
        if count == free or (name == "maxItems" and tail is None and count == len(heads)):
            continue
        if count > MOST_REPEATS:
            fit.note(node, name)
        else:
            made[name] = int(count)
    return made


def fit_object(node: Node, child: Child, fit: Fit) -> Node | None:
    """Properties in the order of the schema, others if they can be distinguished."""
    for name in _CHECKED_NAMES:
        if name in node:
            fit.note(node, name)
    required = list(dict.fromkeys(node.get("required", [])))
    others = _others(node, fit)
    wanted = dict(table(node.get("properties")))
    for name in required:
        if name not in wanted and others is False:
            fit.never(
                node, "required", f"has {name[:60]!r}, which cannot be the name of a property"
            )
            return None
        wanted.setdefault(name, others)
    properties = {name: child(schema) for name, schema in wanted.items()}
    if any(properties[name] is None for name in required):
        return None
    held = {name: made for name, made in properties.items() if made is not None}
    made: Node = {"type": "object"}
    if held or "properties" in node:
        made["properties"] = held
    if required:
        made["required"] = required
    made |= _open(node, held, (child(others), child), fit)
    return made if _count(node, made, fit) else None


def _others(node: Node, fit: Fit) -> Schema:
    """What further properties must be, patterns included."""
    given: Schema = node.get("additionalProperties", True)
    patterns = table(node.get("patternProperties"))
    if not patterns or (len(patterns) == 1 and not node.get("properties")):
        return given
    fit.note(node, "patternProperties")
    if given is False:
        return {"anyOf": list(patterns.values())}
    return given


def _open(node: Node, held: dict[str, Node], rest: tuple[Node | None, Child], fit: Fit) -> Node:
    """The keywords of a grammar's object for what has no name of its own."""
    others, child = rest
    patterns = table(node.get("patternProperties"))
    said = others is not None and ("additionalProperties" in node or bool(patterns))
    needed = others is not None and node.get("minProperties", 0) > len(held)
    if held or "properties" in node:
        if "propertyNames" in node:
            fit.note(node, "propertyNames")
        if not (said or needed) or not all(map(is_plain, held)):
            return {"additionalProperties": False}
    elif len(patterns) == 1:
        return _keyed_by_pattern(node, rest, fit)
    elif "propertyNames" in node and others is not None:
        names = child(both({"type": "string"}, node["propertyNames"]))
        if names is None:
            return {"additionalProperties": False}
        if names != {"type": "string"}:
            return {"propertyNames": names, "additionalProperties": others or True}
    return {"additionalProperties": False if others is None else others or True}


def _keyed_by_pattern(node: Node, rest: tuple[Node | None, Child], fit: Fit) -> Node:
    others, child = rest
    ((source, schema),) = table(node["patternProperties"]).items()
    value = child(schema)
    if "propertyNames" in node:
        fit.note(node, "propertyNames")
    text, exact = None, False
    with contextlib.suppress(InvalidPattern):
        pattern = read_pattern(source)
        text, exact = pattern.text, pattern.exact
    if value is None or text is None or not exact:
        fit.note(node, "patternProperties")
    if value is not None and text is not None:
        return {"patternProperties": {text: value}, "additionalProperties": False}
    free = others if others is not None else value
    return {"additionalProperties": False if free is None else free or True}


def _count(node: Node, made: Node, fit: Fit) -> bool:
    """Puts how many properties there may be into `made`; False when no object has that many."""
    least, most = node.get("minProperties", 0), node.get("maxProperties", math.inf)
    names = made.get("properties", {})
    closed = made["additionalProperties"] is False and "patternProperties" not in made
    if least > most or (closed and least > len(names)):
        at_most = most if least > most else len(names)
        fit.never(node, "minProperties", f"is {least}, but there can be at most {at_most:g}")
        return False
    if len(made.get("required", ())) > most:
        fit.never(node, "maxProperties", f"is {most}, which is less than what is 'required'")
        return False
    for name in ("minProperties", "maxProperties"):
        if name not in node:
            continue
        counted = node[name] * max(1, len(names)) <= _MOST_COUNTED
        if not counted or (name == "minProperties" and least > 0 and not closed):
            fit.note(node, name)  # a name may come twice, which a grammar counts twice
        if counted:
            made[name] = int(node[name])
    return True


def is_plain(name: str) -> bool:
    """Whether JSON writes a name as it is, and in ASCII."""
    return name.isascii() and name.isprintable() and not {'"', "\\"} & set(name)
