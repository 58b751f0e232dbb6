"""Finished answers: held to the schema, with the reason in a few words that repeat no data."""

from typing import Any

import orjson
import pytest

from frontend.schemas.check import find_errors
from frontend.schemas.limits import Limits
from frontend.schemas.plan import make_plans
from tests.support.schema_grammars import Schema, of_properties, plan

SCHEMA = {**of_properties(a={"type": "integer", "maximum": 3}), "required": ["a"]}


def fault(text: str, schema: Schema = SCHEMA) -> str | None:
    (found,) = find_errors([(plan(schema).checker, text)])
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', None),
        (' {"a" : 1, "b": []} ', None),
        ('{"a": "x"}', "at '/a', a value is not of type \"integer\""),
        ('{"a": 4}', "at '/a', a value is greater than the maximum of 3"),
        ("{}", "at '/', \"a\" is a required property"),
        ('{"a": 1', "it is not valid JSON"),
        ("", "it is not valid JSON"),
        ('{"a": NaN}', "it is not valid JSON"),
        ('{"a": 1e999}', "it is not valid JSON"),
        ("[]", "at '/', a value is not of type \"object\""),
    ],
)
def test_texts_are_held_to_the_schema(text: str, expected: str | None) -> None:
    assert fault(text) == expected


def test_a_reason_is_short_whatever_the_answer_holds() -> None:
    name = "n" * 5000
    closed = {"type": "object", "additionalProperties": {"type": "null"}}
    found = fault(orjson.dumps({name: "secret" * 1000}).decode(), closed)
    assert found is not None
    assert len(found) < 500
    assert "secret" not in found


def test_formats_are_annotations() -> None:
    assert fault('"2024-02-31"', {"type": "string", "format": "date"}) is None


def test_several_schemas_are_planned_at_once() -> None:
    jobs: list[Any] = [(orjson.dumps(s), f"t[{n}]", False) for n, s in enumerate([SCHEMA, {}])]
    plans = make_plans(jobs, Limits())
    texts = ['{"a": 9}', "9"]
    faults = find_errors([(p.checker, t) for p, t in zip(plans, texts, strict=True)])
    assert [found is None for found in faults] == [False, True]
