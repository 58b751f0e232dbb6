"""What a schema costs is counted before anything is compiled, and refused beyond a limit."""

import time

import pytest

from frontend.schemas.limits import Limits
from tests.support.schema_expansion import LINKS, chain
from tests.support.schema_grammars import Schema, fits, of_properties, plan, refusal


@pytest.mark.parametrize("link", LINKS)
def test_expansion_is_refused_before_it_happens(link: str) -> None:
    start = time.process_time()
    refused = refusal(chain(60, LINKS[link]), enforced=False)
    assert time.process_time() - start < 5
    assert refused.code == "schema_too_complex"
    assert "100,000" in refused.message


@pytest.mark.parametrize("link", LINKS)
def test_a_little_of_it_is_taken(link: str) -> None:
    plan(chain(6, LINKS[link]), enforced=False)


def test_mixtures_count() -> None:
    names = list(LINKS)
    definitions = {
        f"d{n}": LINKS[names[n % len(names)]]({"$ref": f"#/$defs/d{n + 1}"}) for n in range(40)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": {**definitions, "d40": {}}}
    assert refusal(schema).code == "schema_too_complex"


def test_parts_that_share_a_schema_cost_little() -> None:
    """A record of 30 levels, each of which refers to the next one ten times."""
    definitions: Schema = {
        f"d{n}": of_properties(**{f"p{i}": {"$ref": f"#/$defs/d{n + 1}"} for i in range(10)})
        for n in range(30)
    }
    definitions["d30"] = {"type": "string"}
    schema = {"$ref": "#/$defs/d0", "$defs": definitions}
    assert fits(schema, {"p0": {"p1": {}}})


def test_a_recursive_union_is_taken() -> None:
    """As compilers of expressions have them: every arm refers to the whole."""
    arms = [
        {"type": "object", "properties": {"op": {"const": op}, "left": {"$ref": "#/$defs/e"},
                                          "right": {"$ref": "#/$defs/e"}}}
        for op in ("add", "subtract", "multiply", "divide")
    ]  # fmt: skip
    schema = {"$ref": "#/$defs/e", "$defs": {"e": {"anyOf": [{"type": "number"}, *arms]}}}
    assert fits(schema, {"op": "add", "left": 1, "right": {"op": "divide", "left": 1, "right": 2}})


def test_long_chains_of_references_do_not_overflow() -> None:
    definitions: Schema = {f"d{n}": {"items": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(2000)}
    definitions["d2000"] = {}
    plan({"$ref": "#/$defs/d0", "$defs": definitions})
    definitions = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(2000)}
    definitions["d2000"] = {}
    plan({"$ref": "#/$defs/d0", "$defs": definitions})


@pytest.mark.parametrize(
    ("limits", "schema", "param"),
    [
        (Limits(depth=3), {"items": {"items": {"items": {}}}}, "s.items.items.items"),
        (Limits(properties=2), of_properties(a={}, b=of_properties(c={})), "s"),
        (Limits(enum=2), of_properties(a={"enum": [1, 2, 3]}), "s.properties.a.enum"),
        (Limits(patterns=1), {"patternProperties": {"a": {}, "b": {}}}, "s"),
        (Limits(pattern_size=99), {"pattern": "(a{1,10}){1,10}"}, "s.pattern"),
        (Limits(expansion=3), {"anyOf": [{}, {}, {}]}, "s"),
    ],
)
def test_each_limit_is_named(limits: Limits, schema: Schema, param: str) -> None:
    assert refusal(schema, limits=limits, enforced=False).param == param


def test_many_large_patterns_are_refused() -> None:
    patterns = [{"type": "string", "pattern": f"(a{{1,{900 + n}}}){{1,9}}k"} for n in range(100)]
    start = time.process_time()
    assert refusal({"anyOf": patterns}).code == "schema_too_complex"
    assert time.process_time() - start < 2
