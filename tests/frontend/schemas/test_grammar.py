"""What the engine's grammar gets of a schema, and what is reported as left out."""

from typing import Any

import pytest
from hypothesis import given

from frontend.schemas.keywords import parts
from tests.support.schema_grammars import Schema, grammar, of_properties, plan, refusal
from tests.support.schemas import schemas

CLOSED = {"additionalProperties": False}


@given(schemas())
def test_what_applications_ask_for_is_taken(schema: Schema) -> None:
    plan(schema)


def test_annotations_are_dropped() -> None:
    noted = {"title": "t", "description": "d", "default": 1, "examples": [1], "$comment": "c",
             "deprecated": True, "readOnly": True, "x-order": 1, "contentEncoding": "base64",
             "format": "uri-thing", "nullable": True}  # fmt: skip
    assert grammar({"type": "string", **noted}) == {"type": "string"}
    assert plan({"type": "string", **noted}).left_out == ()


@pytest.mark.parametrize(
    ("schema", "left_out"),
    [
        ({"not": {"type": "null"}}, "s.not"),
        (of_properties(a={"if": {"minimum": 1}, "then": {"maximum": 2}}), "s.properties.a.if"),
        ({"type": "array", "uniqueItems": True}, "s.uniqueItems"),
        ({"type": "array", "contains": {"const": 1}}, "s.contains"),
        ({"anyOf": [{"type": "null"}, {"type": "array", "uniqueItems": True}]},
         "s.anyOf[1].uniqueItems"),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, "s.dependentRequired"),
        ({"type": "integer", "multipleOf": 3}, "s.multipleOf"),
        ({"type": "string", "pattern": "^(?=a)b"}, "s.pattern"),
        ({"type": "string", "pattern": "^a", "minLength": 2}, "s.minLength"),
        ({"type": "string", "maxLength": 10**6}, "s.maxLength"),
        ({"oneOf": [{"type": "integer"}, {"minimum": 3}]}, "s.oneOf"),
        ({**of_properties(**{f"p{n}": {} for n in range(200)}), "minProperties": 100},
         "s.minProperties"),
        ({**of_properties(a={}), "patternProperties": {"^x": {}, "^y": {}}}, "s.patternProperties"),
    ],
)  # fmt: skip
def test_what_grammars_lack_is_left_out_and_told(schema: Schema, left_out: str) -> None:
    assert plan(schema).left_out == (left_out,)
    keyword = left_out.rpartition(".")[2]
    assert keyword in ("pattern", "oneOf", "contains", "patternProperties") or not any(
        keyword in node for node in every(grammar(schema))
    )


def every(schema: Any) -> list[Schema]:
    """A schema and all in it."""
    if not isinstance(schema, dict):
        return []
    return [schema, *(one for _, part in parts(schema, definitions=True) for one in every(part))]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        # siblings of references, of alternatives and of listed values hold as well
        ({"$ref": "#/$defs/a", "minimum": 3, "$defs": {"a": {"type": "integer"}}},
         {"type": "integer", "minimum": 3}),
        ({"type": "string", "anyOf": [{"maxLength": 2}, {"type": ["string", "null"]}]},
         {"anyOf": [{"type": "string", "maxLength": 2}, {"type": "string"}]}),
        ({**of_properties(a={"type": "null"}), "anyOf": [{"required": ["a"]}]},
         {**of_properties(a={"type": "null"}), "required": ["a"], **CLOSED}),
        ({"type": "string", "enum": ["a", 1, None]}, {"const": "a"}),
        ({"enum": [1, 2, 3], "minimum": 2}, {"enum": [2, 3]}),
        # several schemas of 'allOf' become one
        ({"allOf": [{"type": "number", "minimum": 1}, {"type": "integer", "maximum": 3}]},
         {"type": "integer", "minimum": 1, "maximum": 3}),
        ({"allOf": [of_properties(a={"type": "null"}), of_properties(b={"type": "null"})]},
         {**of_properties(a={"type": "null"}, b={"type": "null"}), **CLOSED}),
        ({"allOf": [{**of_properties(a={"type": "null"}), **CLOSED}, of_properties(b={})]},
         {**of_properties(a={"type": "null"}), **CLOSED}),
        # bounds that grammars cannot read
        ({"type": "integer", "minimum": 0.5, "exclusiveMaximum": 3}, {"type": "integer",
                                                                      "minimum": 1, "maximum": 2}),
        ({"type": "array", "prefixItems": [True, {"type": "null"}], "maxItems": 1},
         {"type": "array", "prefixItems": [{}], "items": False}),
        ({"type": "array", "minItems": 2.0}, {"type": "array", "items": {}, "minItems": 2}),
        # grammars close what schemas leave open
        ({"type": "object"}, {"type": "object", "additionalProperties": True}),
        ({"type": "object", "minProperties": 3}, {"type": "object", "additionalProperties": True,
                                                  "minProperties": 3}),
        (of_properties(), {**of_properties(), **CLOSED}),
        ({**of_properties(a={}), "required": ["b"]},
         {**of_properties(a={}, b={}), "required": ["b"], **CLOSED}),
        (of_properties(a=False, b={}), {**of_properties(b={}), **CLOSED}),
        ({"properties": {"a": {}}}, {**of_properties(a={}), **CLOSED}),
        ({"minLength": 2}, {"type": "string", "minLength": 2}),
        ({"type": "array", "items": False}, {"type": "array", "items": False}),
    ],
)  # fmt: skip
def test_a_schema_is_written_as_the_engine_reads_it(schema: Schema, expected: Schema) -> None:
    assert grammar(schema) == expected


def test_recursion_stays_a_reference() -> None:
    tree = {"$defs": {"n": of_properties(next={"$ref": "#/$defs/n", "minProperties": 1})},
            "$ref": "#/$defs/n"}  # fmt: skip
    made = grammar(tree)
    assert made["properties"]["next"] == {"$ref": "#/$defs/r0"}
    once = made["$defs"]["r0"]["properties"]["next"]
    assert once["minProperties"] == 1
    assert once["properties"]["next"] == {"$ref": "#/$defs/r0"}
    assert plan(tree).left_out == ("s.$defs.n.properties.next.$ref",)
    assert grammar({"items": {"$ref": "#"}})["items"] == {"$ref": "#/$defs/root"}


def test_an_alternative_that_leads_back_stands_for_itself() -> None:
    inner = {**of_properties(k={}), "anyOf": [{"$ref": "#/$defs/n"}, {"required": ["k"]}]}
    made = grammar({"$defs": {"n": of_properties(a=inner)}, "$ref": "#/$defs/n"})
    arms = made["properties"]["a"]["anyOf"]
    assert arms == [{"$ref": "#/$defs/r0"}, {**of_properties(k={}), "required": ["k"], **CLOSED}]


@pytest.mark.parametrize("name", ['"', "\\", "a\nb", "\x00", "ä", "世", "😀"])
def test_an_object_with_a_name_beyond_plain_ascii_is_closed(name: str) -> None:
    """xgrammar cannot tell such names from others, and would write invalid JSON."""
    schema = {**of_properties(**{name: {"type": "null"}}), "additionalProperties": {}}
    assert grammar(schema)["additionalProperties"] is False
    plain = {**of_properties(a={"type": "null"}), "additionalProperties": {"type": "integer"}}
    assert grammar(plain)["additionalProperties"] == {"type": "integer"}


@pytest.mark.parametrize("name", ["title", "default", "description", '"', "$schema"])
def test_schemas_that_differ_in_a_property_called_like_an_annotation_stay_apart(name: str) -> None:
    """xgrammar compares schemas without annotations, whatever is called like one."""
    kinds = [of_properties(**{name: {"type": kind}}) for kind in ("string", "null")]
    made = grammar(of_properties(a=kinds[0], b=kinds[1]))["properties"]
    assert made["a"]["x-mark"] != made["b"]["x-mark"]


@pytest.mark.parametrize(
    ("schema", "param"),
    [
        (of_properties(a={"type": "string", "enum": [1]}), "s.properties.a.enum"),
        (of_properties(a={"type": "string", "const": None}), "s.properties.a.const"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "s.minimum"),
        ({"type": "number", "exclusiveMinimum": 2, "maximum": 2}, "s.exclusiveMinimum"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "s.minLength"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "s.minItems"),
        ({"type": "array", "prefixItems": [{}], "items": False, "minItems": 2}, "s.minItems"),
        ({"type": "object", "minProperties": 3, "maxProperties": 2}, "s.minProperties"),
        ({**of_properties(a={}), **CLOSED, "minProperties": 2}, "s.minProperties"),
        ({"type": "object", "required": ["a", "b"], "maxProperties": 1}, "s.maxProperties"),
        ({"type": "object", "required": ["a"], **CLOSED}, "s.required"),
        ({"allOf": [{"type": "string"}, {"type": "number"}]}, "s"),
        ({"anyOf": [False]}, "s"),
    ],
)
def test_what_no_value_fits_is_refused_by_name_unless_nothing_is_enforced(
    schema: Schema, param: str
) -> None:
    assert refusal(schema).param == param
    plan(schema, enforced=False)


@pytest.mark.parametrize(
    ("schema", "param"),
    [
        ({"type": "cat"}, "s.type"),
        ({"type": "object", "required": "a"}, "s.required"),
        (of_properties(a={"properties": []}), "s.properties.a.properties"),
        (of_properties(a={"anyOf": []}), "s.properties.a.anyOf"),
        ({"minLength": -1}, "s.minLength"),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "required": []}, "s.required"),
    ],
)
def test_what_is_no_schema_is_refused_everywhere(schema: Schema, param: str) -> None:
    for enforced in (True, False):
        assert refusal(schema, enforced=enforced).param == param


def test_a_property_may_be_called_like_a_keyword() -> None:
    schema = of_properties(**{"not": {"type": "string"}, "if": {"type": "null"}, "$ref": {}})
    assert grammar(schema)["properties"] == schema["properties"]


def test_merging_many_alternatives_is_bounded() -> None:
    """Each part doubles what is merged; beyond a bound it is left to the check."""
    definitions: Schema = {
        f"d{n}": of_properties(
            a={"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"minProperties": 1}]},
            b={"$ref": f"#/$defs/d{n + 1}", "maxProperties": 9},
        )
        for n in range(40)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": {**definitions, "d40": {"type": "object"}}}
    made = plan(schema)
    assert len(made.grammar) < 20_000
    assert any("allOf" in path for path in made.left_out)
