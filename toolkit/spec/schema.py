"""The JSON Schema of models.yaml, for editors and the reference page. Pure."""

from typing import Any

from toolkit.spec.models import ENTRIES, Models, entry_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NOT_PER_TARGET = {"kind", "targets", "aliases"}


def models_schema() -> dict[str, Any]:
    """The schema of a whole file. What one target changes has the fields of its model's kind."""
    schema = Models.model_json_schema()
    definitions = schema["$defs"]
    for entry in ENTRIES.values():
        whole = definitions[entry.__name__]
        whole["description"] = " ".join((entry.__doc__ or "").split())
        changes = {
            name: field
            for name, field in whole["properties"].items()
            if name not in _NOT_PER_TARGET
        }
        definitions[f"{entry.__name__}Changes"] = {
            "type": "object",
            "additionalProperties": False,
            "properties": changes,
            "title": f"{entry.__name__}Changes",
        }
        targets = whole["properties"]["targets"]
        # pydantic writes a dictionary with patterned keys as one pattern
        (pattern,) = targets["patternProperties"]
        targets["patternProperties"] = {pattern: {"$ref": f"#/$defs/{entry.__name__}Changes"}}
    _close(schema)
    title = {"$schema": DIALECT, "title": "models.yaml of Triton Toolkit"}
    return {**title, **{key: value for key, value in schema.items() if key != "title"}}


def _close(schema: Any) -> None:
    """Where names have a pattern, nothing else is a name."""
    if isinstance(schema, dict):
        if "patternProperties" in schema:
            schema["additionalProperties"] = False
        for inner in schema.values():
            _close(inner)
    elif isinstance(schema, list):
        for inner in schema:
            _close(inner)


def fields_at(kind: str, path: tuple[str | int, ...]) -> list[str]:
    """The fields known below `path` of an entry of `kind`, in the order of the reference page."""
    whole = entry_schema(kind)
    found = [whole]
    for part in path:
        found = [
            _resolve(whole, inner)
            for schema in found
            for option in _options(whole, schema)
            for inner in _children(option, part)
        ]
    names: list[str] = []
    for schema in found:
        for option in _options(whole, schema):
            names += [name for name in option.get("properties", {}) if name not in names]
    return names


def _options(whole: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [_resolve(whole, option) for option in schema.get("anyOf", [schema])]


def _children(schema: dict[str, Any], part: str | int) -> list[dict[str, Any]]:
    if isinstance(part, int):
        return [schema["items"]] if "items" in schema else []
    if part in schema.get("properties", {}):
        return [schema["properties"][part]]
    extra = [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")]
    return [each for each in extra if isinstance(each, dict)]


def _resolve(whole: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if isinstance(reference, str):
        found: dict[str, Any] = whole["$defs"][reference.rpartition("/")[2]]
        return found
    return schema
