"""Schemas that double with each level: 2^60 places written in a few kilobytes."""

from typing import Any

from tests.support.schema_grammars import Schema


def chain(levels: int, link: Any) -> Schema:
    """`link` makes a schema that refers twice to the next one."""
    definitions = {f"d{n}": link({"$ref": f"#/$defs/d{n + 1}"}) for n in range(levels)}
    definitions[f"d{levels}"] = {"type": "object"}
    return {"$ref": "#/$defs/d0", "$defs": definitions}


LINKS: dict[str, Any] = {
    "oneOf": lambda r: {"oneOf": [r, r]},
    "anyOf": lambda r: {"anyOf": [r, r]},
    "allOf": lambda r: {"allOf": [r, r]},
    "not": lambda r: {"not": {"not": r}, "anyOf": [r]},
    "if": lambda r: {"if": r, "then": r},
    "else": lambda r: {"if": {"not": r}, "else": r},
    "dependentSchemas": lambda r: {"dependentSchemas": {"a": r, "b": r}},
    "beside $ref": lambda r: {**r, "anyOf": [r]},
    "items": lambda r: {"anyOf": [{"items": r}, {"items": r}]},
    "contains": lambda r: {"items": r, "contains": r},
    "prefixItems": lambda r: {"anyOf": [{"prefixItems": [r]}, {"items": r}]},
    "properties": lambda r: {"oneOf": [{"properties": {"a": r}}, {"properties": {"a": r}}]},
    "patternProperties": lambda r: {"properties": {"a": r}, "patternProperties": {"a": r}},
    "two patterns": lambda r: {"patternProperties": {"a": r, "b": r}},
    "additionalProperties": lambda r: {
        "anyOf": [{"properties": {"a": r}}, {"additionalProperties": r}]
    },
    "unevaluatedProperties": lambda r: {
        "unevaluatedProperties": r,
        "anyOf": [{"properties": {"a": r}}],
    },
    "propertyNames": lambda r: {"anyOf": [{"propertyNames": r}, {"propertyNames": r}]},
}  # fmt: skip
