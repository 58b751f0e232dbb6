"""JSON schemas that requests bring: bounded, refused by keyword, and replies checked against them.

Pure: a schema never makes the gateway fetch anything, and patterns are matched in linear time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import orjson

from frontend.errors import InvalidRequest

MAX_BYTES = 120_000
MAX_DEPTH = 32
MAX_PROPERTIES = 5000
MAX_ENUM = 1000
_SCHEMAS = ("items", "additionalProperties")
_SCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMA_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_VALUES = (
    *("type", "enum", "const", "required", "$ref"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "pattern", "format"),
    *("minItems", "maxItems", "minProperties", "maxProperties"),
)
_NOTES = (
    *("$schema", "$id", "$comment", "title", "description", "default", "examples", "example"),
    *("deprecated", "readOnly", "writeOnly", "discriminator"),
)
_KNOWN = frozenset((*_SCHEMAS, *_SCHEMA_LISTS, *_SCHEMA_MAPS, *_VALUES, *_NOTES))
_FORMATS = frozenset(
    {"email", "date", "time", "date-time", "duration", "ipv4", "ipv6", "hostname", "uuid", "uri"}
)


def check_schema(schema: dict[str, Any], path: str, *, enforced: bool = False) -> None:
    """Raises InvalidRequest for what is no schema, is too large, or refers to another place.

    `enforced`: also for a keyword that the engine cannot hold its output to; `path` leads to it.
    """
    if (size := len(orjson.dumps(schema))) > MAX_BYTES:
        raise _refuse(path, f"has {size} bytes, at most {MAX_BYTES} are allowed")
    properties = 0
    for where, node, depth in _nodes(schema, path):
        if depth > MAX_DEPTH:
            raise _refuse(where, f"is nested deeper than {MAX_DEPTH} levels")
        properties += len(_table(node.get("properties")))
        if properties > MAX_PROPERTIES:
            raise _refuse(path, f"has more than {MAX_PROPERTIES} properties")
        if isinstance(node.get("enum"), list) and len(node["enum"]) > MAX_ENUM:
            raise _refuse(f"{where}.enum", f"has more than {MAX_ENUM} values")
        if not str(node.get("$ref", "#")).startswith("#"):
            raise _refuse(f"{where}.$ref", "must stay within the schema: start with '#'")
        if enforced:
            _check_keywords(node, where)
    if not jsonschema_rs.meta.is_valid(schema):
        raise _refuse(path, "is no valid JSON schema")


def _check_keywords(node: dict[str, Any], where: str) -> None:
    for keyword in node:
        if keyword not in _KNOWN:
            raise _unsupported(f"{where}.{keyword}", "is a keyword that cannot be enforced")
    if isinstance(node.get("allOf"), list) and len(node["allOf"]) > 1:
        raise _unsupported(f"{where}.allOf", "cannot be enforced with more than one schema")
    if isinstance(node.get("items"), list):
        raise _unsupported(f"{where}.items", "is a list; say 'prefixItems'")
    if (kind := node.get("format")) is not None and kind not in _FORMATS:
        known = ", ".join(sorted(_FORMATS))
        raise _unsupported(f"{where}.format", f"is {kind!r}; these can be enforced: {known}")
    if "pattern" in node and {"minLength", "maxLength", "format"} & set(node):
        raise _unsupported(f"{where}.pattern", "cannot be enforced beside a length or a format")


def _nodes(schema: Any, path: str, depth: int = 1) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Every schema in a schema: its place, itself, how deep it stands."""
    if not isinstance(schema, dict):
        return
    yield path, schema, depth
    if depth > MAX_DEPTH:
        return
    for name in _SCHEMAS:
        yield from _nodes(schema.get(name), f"{path}.{name}", depth + 1)
    for name in _SCHEMA_LISTS:
        listed = schema.get(name)
        for index, one in enumerate(listed if isinstance(listed, list) else ()):
            yield from _nodes(one, f"{path}.{name}[{index}]", depth + 1)
    for name in _SCHEMA_MAPS:
        for key, one in _table(schema.get(name)).items():
            yield from _nodes(one, f"{path}.{name}.{key[:60]}", depth + 1)


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _refuse(path: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"'{path}' {problem}", param=path, code="invalid_json_schema")


def _unsupported(path: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"'{path}' {problem}", param=path, code="unsupported_schema")


def _no_retrieval(uri: str) -> Any:
    raise ValueError(f"schemas are not fetched: {uri}")


def _compile(schema: dict[str, Any], path: str) -> Callable[[Any], bool]:
    """A check of values. Raises InvalidRequest for a schema that cannot be one."""
    try:
        return jsonschema_rs.validator_for(
            schema,
            retriever=_no_retrieval,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=2**20),
        ).is_valid
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        said = str(error).splitlines()[0][:200]
        raise _refuse(path, f"is no schema that can be used: {said}") from None


@dataclass(frozen=True, slots=True)
class Structure:
    """What a finished reply must be: a JSON object, or a value that a schema allows."""

    _is_valid: Callable[[Any], bool]

    @classmethod
    def of(cls, schema: dict[str, Any], path: str) -> "Structure":
        """Raises InvalidRequest for a schema that cannot be enforced and checked."""
        check_schema(schema, path, enforced=True)
        return cls(_compile(schema, path))

    @classmethod
    def of_object(cls) -> "Structure":
        """Any JSON object."""
        return cls(lambda value: isinstance(value, dict))

    def matches(self, text: str) -> bool:
        """Whether the text is JSON and what was asked for."""
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return False
        return bool(self._is_valid(value))
