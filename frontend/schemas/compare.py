"""What can be said about schemas without evaluating them: their types, and whether they overlap.

Pure. A schema here is one behind its reference, not merged with what it refers to.
"""

from typing import Any

from frontend.schemas.canonical import Document
from frontend.schemas.containers import is_plain
from frontend.schemas.keywords import Schema, table
from frontend.schemas.merge import Node, common, types_of

_FAMILIES = {
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": (
        *("items", "prefixItems", "additionalItems", "unevaluatedItems", "minItems", "maxItems"),
        *("uniqueItems", "contains", "minContains", "maxContains"),
    ),
    "object": (
        *("properties", "required", "additionalProperties", "patternProperties"),
        *("unevaluatedProperties", "propertyNames", "minProperties", "maxProperties"),
        *("dependentRequired", "dependentSchemas", "dependencies"),
    ),
}
_CONFUSED = frozenset(
    {
        *("title", "default", "description", "examples", "deprecated"),
        *("readOnly", "writeOnly", "$comment", "$schema"),
    }
)
"""xgrammar ignores properties of these names when it compares schemas."""
_MAX_COMPARED = 200


def types_in(node: Node) -> list[str]:
    """The types that a schema allows; none where it does not restrict them.

    A keyword that applies to one type only is taken to mean that type.
    """
    if "type" in node:
        types = types_of(node["type"])
    else:
        types = [kind for kind, keywords in _FAMILIES.items() if any(k in node for k in keywords)]
        # a keyword does not restrict values of other types, so several leave all types open
        if len(types) > 1:
            types = [*_FAMILIES, "boolean", "null"]
    # every integer is a number, too
    return [kind for kind in types if kind != "integer"] if "number" in types else types


def imply(document: Document, arms: list[Schema], node: Node) -> bool:
    """Whether the alternatives of a schema already contain everything that it requires."""
    if not node:
        return True
    if set(node) != {"type"}:
        return False
    allowed = {*types_of(node["type"])}
    types = [_dereference(document, arm).get("type") for arm in arms]
    return all(one is not None and {*types_of(one)} <= allowed for one in types)


def are_disjoint(document: Document, arms: list[Schema]) -> bool:
    """Whether a value that matches one of `oneOf` cannot match another: by type, or by a tag."""
    nodes = [_dereference(document, arm) for arm in arms]
    # 200 alternatives are 19,900 pairs
    return len(arms) <= _MAX_COMPARED and all(
        _differ(one, other) for number, one in enumerate(nodes) for other in nodes[:number]
    )


def _dereference(document: Document, arm: Schema) -> Node:
    for _ in range(_MAX_COMPARED):
        if not isinstance(arm, dict) or "$ref" not in arm:
            break
        arm = document.target(arm)
    return arm if isinstance(arm, dict) else {}


def _differ(first: Node, second: Node) -> bool:
    if "type" in first and "type" in second:
        one, other = ({*types_of(side["type"])} for side in (first, second))
        # 1 is an integer and a number
        numbers = {"integer", "number"}
        if not one & other and not (one & numbers and other & numbers):
            return True
    return any(
        not common(_tags(first, name), _tags(second, name))
        # required on both sides: a value without the tag would match both
        for name in {*first.get("required", ())} & {*second.get("required", ())}
        if _tags(first, name) and _tags(second, name)
    )


def _tags(node: Node, name: str) -> list[Any]:
    """The only values that a property may have."""
    schema = table(table(node.get("properties")).get(name))
    return [schema["const"]] if "const" in schema else list(schema.get("enum", ()))


def is_confused(value: Any) -> bool:
    """Whether xgrammar may take a schema with this value for another one."""
    if isinstance(value, list):
        return any(map(is_confused, value))
    if not isinstance(value, dict):
        return False
    return any(not is_plain(name) or name in _CONFUSED for name in value) or any(
        map(is_confused, value.values())
    )
