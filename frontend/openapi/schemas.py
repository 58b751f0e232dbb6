"""Declarations of request bodies → schemas of an OpenAPI 3.0 document. Pure.

msgspec writes JSON Schema 2020-12, where null is a type. Here null means absent, so it is left out.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct, inspect, json

from frontend.dialects.declare import Off, Refused

Schema = dict[str, Any]
_REFUSED = "x-refused"


def describe(
    kinds: Iterable[type[Struct]], prefix: str
) -> tuple[dict[type[Struct], Schema], dict[str, Schema]]:
    """A reference to each declaration, and the schemas that they refer to by name."""
    bodies = list(dict.fromkeys(kinds))
    shown = _shown_types(bodies)
    types = [*bodies, *(one for types in shown.values() for one in types)]
    written, components = json.schema_components(
        types, schema_hook=_hook, ref_template=f"#/components/schemas/{prefix}{{name}}"
    )
    schemas = dict(zip(map(id, types), written, strict=True))
    for (name, field), members in shown.items():
        described = components[name]["properties"][field]
        choices = [schemas[id(one)] for one in members]
        components[name]["properties"][field] = {
            "description": described.get("description", ""),
            "anyOf": choices,
        }
    named = {f"{prefix}{name}": _plain(schema) for name, schema in components.items()}
    # `written` continues with the types that are only shown
    return dict(zip(bodies, written, strict=False)), named


def _shown_types(kinds: list[type[Struct]]) -> dict[tuple[str, str], tuple[Any, ...]]:
    """The types that fields are shown as where that is not the one that is parsed."""
    shapes: dict[tuple[str, str], tuple[Any, ...]] = {}
    seen: set[str] = set()
    pending: list[Any] = list(kinds)
    while pending:
        for struct in _structs(inspect.type_info(pending.pop())):
            # by name, which is what the components are stored under
            if struct.cls.__name__ in seen:
                continue
            seen.add(struct.cls.__name__)
            for field in struct.fields:
                if (shown := _shown_as(field.type)) is not None:
                    shapes[struct.cls.__name__, field.encode_name] = shown
                    pending += shown
    return shapes


def _shown_as(info: inspect.Type) -> tuple[Any, ...] | None:
    while isinstance(info, inspect.Metadata):
        if "shown_as" in (info.extra or {}):
            shown: tuple[Any, ...] = (info.extra or {})["shown_as"]
            return shown
        info = info.type
    return None


def _structs(info: inspect.Type) -> Iterator[inspect.StructType]:
    """Every declared object within a type."""
    pending, seen = [info], set[type]()
    while pending:
        one = pending.pop()
        if isinstance(one, inspect.Metadata):
            pending.append(one.type)
        elif isinstance(one, inspect.UnionType):
            pending += one.types
        elif isinstance(one, inspect.ListType):
            pending.append(one.item_type)
        elif isinstance(one, inspect.StructType) and one.cls not in seen:
            seen.add(one.cls)
            pending += [field.type for field in one.fields]
            yield one


def _hook(kind: type) -> Schema:
    if kind is Off:
        return {"type": "boolean", "enum": [False]}
    assert kind is Refused, kind
    return {_REFUSED: True}


def _plain(schema: Any) -> Any:
    """The schema as OpenAPI 3.0 has it."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    rest = {k: _plain(v) for k, v in schema.items() if k not in ("anyOf", "title", "properties")}
    if "default" in rest and rest["default"] is None:
        del rest["default"]
    if "properties" in schema:
        named = {name: _plain(one) for name, one in schema["properties"].items()}
        rest["properties"] = {name: one for name, one in named.items() if _REFUSED not in one}
    if rest.get("required") == []:
        del rest["required"]
    if "enum" in rest and "type" not in rest:
        rest["type"] = "string"
        if len(rest["enum"]) == 1:
            rest.setdefault("description", f"Always {rest['enum'][0]!r}.")
    return _with_choices(rest, _plain(schema.get("anyOf", [])))


def _with_choices(rest: Schema, choices: list[Schema]) -> Schema:
    """A schema with those of its choices that say something."""
    choices = [one for one in choices if one != {"type": "null"}]
    # in JSON Schema every integer is a number
    if any(one.get("type") == "number" for one in choices):
        choices = [one for one in choices if one.get("type") != "integer"]
    if len(choices) == 1 and "$ref" not in choices[0]:
        return {**choices[0], **rest}
    if len(choices) > 1:
        return {**rest, "anyOf": choices}
    if choices:
        return {**rest, "allOf": choices}
    if "$ref" in rest and len(rest) > 1:  # whose siblings are ignored
        return {"allOf": [{"$ref": rest.pop("$ref")}], **rest}
    return rest
