"""What is refused by its text alone, and how callers share places."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from python_backends.errors import InvalidInput, Unavailable
from python_backends.triton import Settings
from python_backends.vllm_engine.grammar_limits import GrammarLimits, read_grammar
from python_backends.vllm_engine.slots import MAX_WAITING, CallerSlots
from toolkit.fields.serving import GrammarBounds

LIMITS = GrammarLimits()
STRING = {"type": "string"}


def test_the_limits_are_the_configs_parameters() -> None:
    settings = Settings("m", Path(), {"grammar_compile_s": "2.5", "grammar_bytes": "10"})
    assert GrammarLimits.read(settings) == GrammarLimits(10, 2.5)
    with pytest.raises(ValueError, match="'grammar_mask_ms' of model 'm' is 0"):
        GrammarLimits.read(Settings("m", Path(), {"grammar_mask_ms": "0"}))


def test_models_yaml_says_the_engines_own_defaults() -> None:
    parameters = {f"grammar_{name}": value for name, value in GrammarBounds().model_dump().items()}
    assert GrammarLimits(**parameters) == LIMITS


def test_what_is_read_is_what_the_compiler_takes() -> None:
    assert read_grammar({"json": '{"type": "null"}', "regex": None}, LIMITS).text == (
        '{"type": "null"}'
    )
    assert read_grammar({"choice": ['a"b', "c\n", "\x01"]}, LIMITS).text == (
        'root ::= "a\\"b" | "c\\n" | "\\u0001"'
    )
    assert json.loads(read_grammar({"json_object": True}, LIMITS).text) == {"type": "object"}


@pytest.mark.parametrize(
    ("schema", "at"),
    [
        ({"type": "integer", "multipleOf": 3}, ".multipleOf"),
        ({"properties": {"a": {"type": ["null", "array"], "uniqueItems": True}}},
         ".properties.a.uniqueItems"),
        ({"anyOf": [{}, {"type": "array", "contains": {}}]}, ".anyOf[1].contains"),
        ({"$defs": {"x": STRING | {"format": "path"}}}, ".$defs.x.format"),
        (STRING | {"pattern": "a", "maxLength": 3}, ".maxLength"),
        ({"items": {"type": "object", "propertyNames": {}, "properties": {}}},
         ".items.propertyNames"),
        ({"type": "object", "patternProperties": {"a": {}, "b": {}}}, ".patternProperties"),
        ({"allOf": [{}, {}]}, ".allOf"),
    ],
)  # fmt: skip
def test_what_would_be_left_out_in_silence_is_refused_by_name(schema: Any, at: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_grammar({"json": schema}, LIMITS)
    assert (caught.value.code, caught.value.param) == (
        "unsupported_schema",
        f"structured_outputs.json{at}",
    )
    assert f"'{at.rpartition('.')[2]}'" in caught.value.message


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"multipleOf": STRING, "allOf": STRING, "format": {"const": 1}}},
        {"enum": [{"type": "integer", "multipleOf": 3}]},
        {"const": {"allOf": [1, 2]}},
        {"type": "string", "format": "uuid"},
        True,
    ],
)
def test_names_and_values_are_not_keywords(schema: Any) -> None:
    assert json.loads(read_grammar({"json": schema}, LIMITS).text) == schema


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    ("structured", "param"),
    [
        ({"json": "{"}, "json"),
        ({"json": "[" * 100_000}, "json"),
        ({"json": "3"}, "json"),
        ({"json": deep(300)}, "json"),
        ({"json": {"enum": ["x" * 200_000]}}, "json"),
        ({"json_object": False}, "json_object"),
        ({"regex": "a\0"}, "regex"),
        ({"regex": ["a"]}, "regex"),
        ({"grammar": " "}, "grammar"),
        ({"choice": []}, "choice"),
        ({"choice": [1]}, "choice"),
        ({"choice": ["x" * 10] * 20_000}, "choice"),
        ({"structural_tag": "nope"}, "structural_tag"),
        ({"structural_tag": json.dumps(deep(300))}, "structural_tag"),
    ],
)
def test_what_cannot_be_a_grammar_is_refused(structured: Any, param: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_grammar(structured, LIMITS)
    assert caught.value.param == f"structured_outputs.{param}"
    assert len(caught.value.message) < 400


async def test_nobody_takes_more_than_half_and_who_has_least_goes_first() -> None:
    shares = CallerSlots(4)
    for _ in range(2):
        await shares.acquire("a")
    third = asyncio.ensure_future(shares.acquire("a"))
    await asyncio.sleep(0)
    assert not third.done()
    await shares.acquire("b")
    await shares.acquire("b")
    waiting = [asyncio.ensure_future(shares.acquire(name)) for name in "bc"]
    await asyncio.sleep(0)
    shares.release("b")
    await asyncio.sleep(0)
    assert [one.done() for one in (third, *waiting)] == [False, False, True]
    shares.release("a")
    await asyncio.sleep(0)
    assert [one.done() for one in (third, *waiting)] == [True, False, True]
    waiting[0].cancel()


async def test_a_place_that_comes_with_a_cancellation_is_not_lost() -> None:
    shares = CallerSlots(1)
    await shares.acquire("a")
    waiting = asyncio.ensure_future(shares.acquire("b"))
    await asyncio.sleep(0)
    shares.release("a")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert shares.may("c")


async def test_only_so_many_wait() -> None:
    shares = CallerSlots(1)
    await shares.acquire("a")
    waiting = [asyncio.ensure_future(shares.acquire("a")) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await shares.acquire("b")
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
