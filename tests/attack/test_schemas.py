"""JSON schemas and their relatives that once froze, fetched or filled the gateway."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.attack.conftest import CHAT, Target
from tests.support.schema_expansion import LINKS, chain

Refused = Callable[[httpx2.Response], dict[str, Any]]
PATTERNS: Any = {
    "anyOf": [{"type": "string", "pattern": f"(a{{1,{900 + n}}}){{1,9}}k"} for n in range(1900)]
}
CHAIN: Any = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}]} for n in range(1500)}
CHAIN = {"$ref": "#/$defs/d0", "unevaluatedProperties": False, "$defs": {**CHAIN, "d1500": {}}}
DEEP: Any = {"properties": {"a": {"oneOf": [{"$ref": "#/$defs/n"}] * 2}}}
SCHEMAS: dict[str, Any] = {
    **{f"expansion by {name}": chain(60, link) for name, link in LINKS.items()},
    "patterns": PATTERNS,
    "one pattern": {"type": "string", "pattern": "((((a{99}){99}){99}){99}){99}"},
    "unicode classes": {"type": "string", "pattern": r"\p{L}{1,9999}"},
    "names": {"type": "object", "properties": {f"p{n}": {} for n in range(6_000)}},
    "size": {"description": "x" * 200_000},
    "an endless reference": {"$ref": "#"},
    "a foreign reference": {"$ref": "http://127.0.0.1:9/x"},
    "a foreign schema": {"$schema": "http://127.0.0.1:9/x"},
}
PLACES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "/v1/chat/completions": lambda schema: {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    },
    "/v1/messages": lambda schema: {"tools": [{"name": "f", "input_schema": schema}]},
    "/api/chat": lambda schema: {"format": schema, "stream": False},
}


def send(target: Target, path: str, schema: Any, **fields: Any) -> httpx2.Response:
    said = [{"role": "user", "content": "Say something."}]
    body = {"model": CHAT, "messages": said, "max_tokens": 8, **PLACES[path](schema), **fields}
    return target.post(path, body)


def test_schemas_are_refused_while_the_second_caller_does_not_notice(
    target: Target, refused: Refused
) -> None:
    with target.beside():
        for schema in SCHEMAS.values():
            refused(send(target, "/v1/chat/completions", schema))


@pytest.mark.parametrize("path", ["/v1/messages", "/api/chat"])
def test_other_dialects_refuse_them_as_well(target: Target, path: str) -> None:
    with target.beside():
        for name in ("expansion by oneOf", "patterns", "a foreign schema", "an endless reference"):
            assert send(target, path, SCHEMAS[name]).status_code == 400, name


def test_what_costs_a_validator_more_than_was_counted_ends_at_its_deadline(
    target: Target,
) -> None:
    """A chain overflows the validator's stack; a recursive schema costs as the answer is deep."""
    deep: Any = None
    for _ in range(40):
        deep = {} if deep is None else {"a": deep}
    recursive = {"enum": [deep], "not": {"not": {"$ref": "#/$defs/n"}}, "$defs": {"n": DEEP}}
    with target.beside():
        for schema in (CHAIN, recursive):
            answer = send(target, "/v1/chat/completions", schema, max_tokens=300)
            assert answer.status_code in (200, 400, 502), answer.text[:300]
            if answer.status_code == 200:
                json.loads(answer.json()["choices"][0]["message"]["content"])
