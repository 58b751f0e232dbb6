"""The reference page of models.yaml, made from its JSON Schema: kinds first, then their parts."""

import json
from typing import Any

from toolkit.spec.models import ENTRIES
from toolkit.spec.schema import models_schema

_HEAD = """# models.yaml

`version: 1` and `models:`, a mapping of names to entries. A name is what clients ask for; letters,
digits, `.`, `_` and `-`. Which fields an entry has depends on its `kind`.

`toolkit schema` prints the JSON Schema of this file. Editors that know YAML schemas complete and
check it with `# yaml-language-server: $schema=models.schema.json` in the first line.
"""
_BOUNDS = {"minimum": "≥ ", "maximum": "≤ ", "exclusiveMinimum": "> "}


def models_page() -> str:
    """Every field with its type, default and meaning."""
    schema = models_schema()
    definitions: dict[str, Any] = schema["$defs"]
    parts = [_HEAD]
    for kind, entry in ENTRIES.items():
        about = definitions[entry.__name__]
        parts += [f"## `kind: {kind}`", "", about["description"], ""]
        parts += [*_table(about, skip={"kind"}), ""]
    names = {entry.__name__ for entry in ENTRIES.values()}
    inner = sorted(n for n in definitions if n not in names and not n.endswith("Changes"))
    for name in inner:
        parts += [f"## {name}", "", _words(definitions[name].get("description", "")), ""]
        parts += [*_table(definitions[name]), ""]
    return "\n".join(parts).rstrip() + "\n"


def _table(schema: dict[str, Any], skip: frozenset[str] | set[str] = frozenset()) -> list[str]:
    rows = ["| field | value | default | meaning |", "|---|---|---|---|"]
    required = set(schema.get("required", ()))
    fields = schema.get("properties", {})
    for name, field in sorted(fields.items(), key=lambda item: item[0] not in required):
        if name in skip:
            continue
        default = "required" if name in required else f"`{json.dumps(field.get('default'))}`"
        meaning = _words(field.get("description", "")).replace("|", "\\|")
        rows.append(f"| `{name}` | {_type(field)} | {default} | {meaning} |")
    return rows


def _type(schema: dict[str, Any]) -> str:
    """The type of a field in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name.endswith("Changes"):
            return "the fields of this kind"
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        inner = [_type(each) for each in schema["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(inner))
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    match schema.get("type"):
        case "array":
            return f"list of {_type(schema.get('items', {}))}"
        case "object":
            extra = schema.get("additionalProperties") or next(
                iter(schema.get("patternProperties", {}).values()), None
            )
            return f"mapping to {_type(extra)}" if isinstance(extra, dict) else "mapping"
        case "string":
            return "text"
        case "boolean":
            return "true, false"
        case "integer" | "number" as kind:
            bounds = [f"{sign}{schema[key]}" for key, sign in _BOUNDS.items() if key in schema]
            return " ".join(["whole number" if kind == "integer" else "number", *bounds])
    return "anything"


def _words(text: str) -> str:
    return " ".join(text.split())
