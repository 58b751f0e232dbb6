"""References lead to a place in the same schema, or the schema is refused; nothing is fetched."""

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.schema_grammars import Schema, fits, of_properties, plan, refusal

POINT = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
DRAFTS = [
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema#",
]


class Web:
    """A server that takes note of who comes."""

    def __init__(self) -> None:
        self.visits: list[str] = []
        visits = self.visits

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                visits.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                return

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    found = Web()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def pointing(url: str) -> list[tuple[Schema, str]]:
    """Schemas that lead a validator to an address, and the place that does."""
    old = {"$schema": DRAFTS[0]}
    return [
        ({"$schema": f"{url}/a"}, "s.$schema"),
        (of_properties(a={"$schema": f"{url}/b", "$id": "x"}), "s.properties.a.$schema"),
        ({"$defs": {"a": {"$schema": f"{url}/c"}}, "$ref": "#/$defs/a"}, "s.$defs.a.$schema"),
        ({"$ref": f"{url}/d"}, "s.$ref"),
        ({"$ref": f"{url}/d#/$defs/x"}, "s.$ref"),
        ({"$id": f"{url}/e", "$ref": "other"}, "s.$ref"),
        ({"$id": f"{url}/e/", "properties": {"a": {"$ref": "f#x"}}}, "s.properties.a.$ref"),
        ({"$dynamicRef": f"{url}/g#meta"}, "s.$dynamicRef"),
        ({"$schema": DRAFTS[3], "$recursiveRef": f"{url}/h"}, "s.$recursiveRef"),
        ({"anyOf": [{"items": {"$ref": f"{url}/i"}}]}, "s.anyOf[0].items.$ref"),
        ({**old, "id": f"{url}/j", "$ref": "k"}, "s.$ref"),
        ({**old, "dependencies": {"a": {"$ref": f"{url}/l"}}}, "s.dependencies.a.$ref"),
        ({"x-parts": {"a": {"$ref": f"{url}/m"}}, "$ref": "#/x-parts/a"}, "s.x-parts.a.$ref"),
        ({"$ref": "file:///etc/passwd"}, "s.$ref"),
        ({"$schema": "file:///etc/passwd"}, "s.$schema"),
        ({"$schema": "urn:x"}, "s.$schema"),
        ({"$ref": "#/$defs/none"}, "s.$ref"),
        ({"$ref": "#none"}, "s.$ref"),
        ({"$ref": "http://["}, "s.$ref"),
    ]


@pytest.mark.parametrize("number", range(19))
@pytest.mark.parametrize("enforced", [True, False])
def test_what_leads_elsewhere_is_refused_and_not_fetched(
    web: Web, number: int, enforced: bool
) -> None:
    schema, place = pointing(web.url)[number]
    assert refusal(schema, enforced=enforced).param == place
    assert web.visits == []


def test_there_is_a_case_for_every_number() -> None:
    assert len(pointing("http://x")) == 19


@pytest.mark.parametrize("draft", DRAFTS)
def test_the_drafts_are_taken_by_their_uri(draft: str) -> None:
    assert fits({"$schema": draft, **POINT}, {"x": 1})
    assert not fits({"$schema": draft, **POINT}, {"x": "1"})


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a", "$defs": {"a": POINT}},
        {"$ref": "/$defs/a", "$defs": {"a": POINT}},  # as LiteLLM writes pydantic's
        {"$ref": "#/components/schemas/a", "components": {"schemas": {"a": POINT}}},
        {"$ref": "#/$defs/a~1b~0%25", "$defs": {"a/b~%": POINT}},
        {"$ref": "#/anyOf/0", "anyOf": [POINT]},
        {"$ref": "#place", "$defs": {"a": {**POINT, "$anchor": "place"}}},
        {"$id": "https://x.test/a", "$ref": "b", "$defs": {"b": {**POINT, "$id": "b"}}},
        {"$id": "https://x.test/a", "$ref": "a#/$defs/b", "$defs": {"b": POINT}},
        {"$dynamicRef": "#node", "$defs": {"a": {**POINT, "$dynamicAnchor": "node"}}},
        {"$schema": DRAFTS[2], "$ref": "#place", "definitions": {"a": {**POINT, "$id": "#place"}}},
        {"$schema": DRAFTS[0], "id": "http://x/a", "allOf": [{"$ref": "a#/definitions/b"}],
         "definitions": {"b": POINT}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": POINT}},
    ],
)  # fmt: skip
def test_references_within_a_schema_are_followed(schema: Schema) -> None:
    assert fits(schema, {"x": 1})
    assert not fits(schema, {"x": "1"})


def test_recursion_into_the_value_is_taken() -> None:
    tree = of_properties(value={"type": "integer"}, children={"items": {"$ref": "#"}})
    assert fits(tree, {"children": [{"value": 1, "children": []}]})
    assert not fits(tree, {"children": [{"value": "1"}]})


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"anyOf": [{"type": "string"}, {"$ref": "#"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/b"}},
                                        "b": {"allOf": [{"$ref": "#/$defs/a"}]}}},
        {"if": {"$ref": "#"}},
        {"dependentSchemas": {"a": {"$ref": "#"}}},
        of_properties(a={"$ref": "#/properties/a"}),
    ],
)  # fmt: skip
def test_recursion_that_never_ends_is_refused(schema: Schema) -> None:
    assert "refers to itself endlessly" in refusal(schema).message


def test_older_drafts_overlook_what_stands_beside_a_reference() -> None:
    schema = {"$ref": "#/definitions/a", "maxLength": 1, "definitions": {"a": {"type": "string"}}}
    assert not fits(schema, "ab")
    assert fits({"$schema": DRAFTS[2], **schema}, "ab")


def test_only_what_a_schema_uses_is_kept() -> None:
    schema = {"$defs": {"a": POINT, "b": {"$ref": "#/$defs/a"}}, **of_properties()}
    assert b"$defs" not in plan(schema).checker.source


def test_a_dynamic_reference_with_several_meanings_is_refused() -> None:
    anchored = [{"$dynamicAnchor": "n", "type": kind} for kind in ("string", "number")]
    schema = {"$dynamicRef": "#n", "$defs": {"a": anchored[0], "b": {"$id": "b", **anchored[1]}}}
    assert "can mean 2 schemas" in refusal(schema).message
