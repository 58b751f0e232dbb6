"""The keywords of JSON Schema that contain schemas, in all drafts, and the names of the drafts.

Annotations are keywords that do not restrict values; so is every keyword that is not listed here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from frontend.errors import InvalidRequest

Schema = dict[str, Any] | bool

_JSON_SCHEMA = "json-schema.org/{}schema"
DRAFTS = {
    "draft-04/": "Draft4Validator",
    "draft-06/": "Draft6Validator",
    "draft-07/": "Draft7Validator",
    "draft/2019-09/": "Draft201909Validator",
    "draft/2020-12/": "Draft202012Validator",
}
NEWEST = "Draft202012Validator"
_BY_URI = {_JSON_SCHEMA.format(path): name for path, name in DRAFTS.items()}
_BY_URI[_JSON_SCHEMA.format("")] = NEWEST
REFERENCE_ALONE = frozenset({"Draft4Validator", "Draft6Validator", "Draft7Validator"})
"""Drafts that ignore the siblings of `$ref`."""

SAME_VALUE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else"})
SAME_VALUE_MAPS = frozenset({"dependentSchemas", "dependencies"})
_ONE = (
    *("not", "if", "then", "else", "contains", "propertyNames"),
    *("items", "additionalItems", "unevaluatedItems"),
    *("additionalProperties", "unevaluatedProperties"),
)
# `items` is one schema, or until 2019-09 a list of them
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
MAPS = ("properties", "patternProperties", "dependentSchemas", "dependencies")
DEFINITIONS = ("$defs", "definitions")
VALUES = frozenset(
    {
        *("type", "enum", "const", "required", "format", "pattern", "uniqueItems"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains"),
        *("minProperties", "maxProperties", "dependentRequired"),
    }
)
"""Keywords that restrict values and contain no schema."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a schema in another: a keyword, and there a name or a number."""

    keyword: str
    key: str | int | None = None

    @property
    def path(self) -> str:
        """The end of a path, after that of the schema around it."""
        if self.key is None:
            return f".{self.keyword}"
        if isinstance(self.key, int):
            return f".{self.keyword}[{self.key}]"
        return f".{self.keyword}.{shorten(self.key)}"


def parts(node: dict[str, Any], *, definitions: bool = False) -> Iterator[tuple[Place, Schema]]:
    """The schemas directly inside a schema; `definitions`: also those that are only referred to."""
    for name in _ONE:
        if isinstance(node.get(name), dict | bool):
            yield Place(name), node[name]
    for name in _LISTS:
        listed = node.get(name)
        for index, one in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(one, dict | bool):
                yield Place(name, index), one
    for name in (*MAPS, *(DEFINITIONS if definitions else ())):
        for key, one in table(node.get(name)).items():
            if isinstance(one, dict | bool):
                yield Place(name, key), one


def table(value: Any) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def draft_of(schema: dict[str, Any], path: str) -> str:
    """The name of the validator for its `$schema`. Raises InvalidRequest for an unknown draft."""
    given = schema.get("$schema")
    if given is None:
        return NEWEST
    # documents write these URIs with both schemes, with and without the empty fragment
    bare = str(given).removesuffix("#").removeprefix("https://").removeprefix("http://")
    if not isinstance(given, str) or "://" not in given or bare not in _BY_URI:
        raise refusal(
            f"{path}.$schema",
            f"is {shorten(str(given))!r}; use 'https://json-schema.org/draft/2020-12/schema', the"
            " URI of draft 4, 6, 7 or 2019-09, or leave it out",
        )
    return _BY_URI[bare]


def meta_uri(draft: str) -> str:
    """The `$schema` of a draft in the spelling of the validator library."""
    path = next(path for path, name in DRAFTS.items() if name == draft)
    uri = _JSON_SCHEMA.format(path)
    return f"https://{uri}" if path.startswith("draft/") else f"http://{uri}#"


def refusal(path: str, problem: str, code: str = "invalid_json_schema") -> InvalidRequest:
    """The error for a schema that cannot be used: raise it. `path` is where the caller wrote it."""
    shown = path if len(path) <= 300 else f"{path[:150]}…{path[-149:]}"
    return InvalidRequest(f"'{shown}' {problem}", param=shown, code=code)


def shorten(text: str) -> str:
    """A caller's text, shortened for an error message."""
    return text if len(text) <= 60 else f"{text[:59]}…"
