"""The gateway's grammars in the engine's xgrammar: all compile, and what they let through is right.

What is written at random obeys the caller's own schema, unless the plan says what was left out.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frontend.schemas.check import find_errors
from tests.support.schema_cases import ALL
from tests.support.schema_grammars import Schema, of_properties, plan
from tests.support.schema_libraries import AGENTS, pydantic_schemas
from tests.support.schemas import schemas
from toolkit.runtime.environments import ensure_environment

Walk = Callable[[Schema, int], list[list[str]]]
POINT = of_properties(x={"type": "integer"}, next={"$ref": "#/$defs/point"})
POINT |= {"required": ["x"], "additionalProperties": False}
NAMES = [
    '"',
    "\\",
    "\n",
    "\x00",
    "\x7f",
    "",
    "ä",
    "世界",
    "😀",
    "a/b",
    "title",
    "$ref",
    "</s>",
    "'",
]


@pytest.fixture(scope="module")
def walk() -> Iterator[Walk]:
    python = ensure_environment("vllm") / "bin" / "python"
    script = Path(__file__).with_name("walk_grammars.py")
    process = subprocess.Popen(
        [python, script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    sent, received = process.stdin, process.stdout

    def ask(schema: Schema, seed: int) -> list[list[str]]:
        sent.write(json.dumps([seed, schema]) + "\n")
        sent.flush()
        while not (line := received.readline()).startswith("["):
            assert line, "the process of the grammars ended"
        walks: list[list[str]] = json.loads(line)
        return walks

    yield ask
    sent.close()
    received.close()
    process.wait(30)


def check(schema: Schema, walk: Walk, seed: int = 0) -> int:
    """Fails for a grammar that is refused or gets stuck, and for answers that break the schema."""
    made = plan(schema)
    endings = walk(orjson.loads(made.grammar), seed)
    assert [end for end in endings if end[0] not in ("stop", "length")] == [], schema
    texts = [text for how, text in endings if how == "stop"]
    faults = find_errors([(made.checker, text) for text in texts])
    for text, fault in zip(texts, faults, strict=True):
        if fault is not None and not made.left_out:
            assert _overflows(text), (fault, text, schema, made.grammar)
    return len(texts)


def _overflows(text: str) -> bool:
    """Whether all that is wrong is a number beyond what computers hold, such as 1e999."""
    value: Any = json.loads(text)
    return any(word in json.dumps(value) for word in ("Infinity", "NaN"))


def test_names_that_json_escapes_are_enforced(walk: Walk) -> None:
    schema = of_properties(**{'"': {"$ref": "#/$defs/point"}, "\\": {"type": "number"}})
    schema |= {"required": ['"', "\\"], "additionalProperties": False, "$defs": {"point": POINT}}
    assert sum(check(schema, walk, seed) for seed in range(0, 40, 4)) > 20


@pytest.mark.parametrize("extra", [None, True, False, {"type": "null"}])
@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_enforced_whatever_stands_beside_it(walk: Walk, name: str, extra: Any) -> None:
    schema = of_properties(**{name: {"const": 1}, "b": of_properties(**{name: {"const": 2}})})
    schema["required"] = [name, "b"]
    if extra is not None:
        schema["additionalProperties"] = schema["properties"]["b"]["additionalProperties"] = extra
    assert check(schema, walk) > 0


@pytest.mark.parametrize(
    "character", ["\x04", "\x7f", "é", "\ud7ff", "\uffff", "\U00040000", "\U000bffff", "\U0010ffff"]
)
def test_any_character_can_be_asked_for(walk: Walk, character: str) -> None:
    """Some vocabularies have no tokens for it: it is written as an escape then."""
    schema = of_properties(
        **{
            f"a{character}": {"const": f"{character}b"},
            "e": {"enum": [[character], {character: 1}]},
            "p": {"type": "string", "pattern": f"^{character}{{2}}[{character}]$"},
            "k": {"type": "object", "propertyNames": {"pattern": f"^{character}+$"}}
            | {"additionalProperties": {"const": character}},
        }
    )
    if character < " ":  # xgrammar takes control characters of patterns as they are
        del schema["properties"]["p"], schema["properties"]["k"]
    schema |= {"required": list(schema["properties"]), "additionalProperties": False}
    assert sum(check(schema, walk, seed) for seed in range(0, 40, 4)) > 10


def test_the_cases_of_the_standard_hold(walk: Walk) -> None:
    written = 0
    for schema, _, _ in ALL:
        written += check(schema, walk)
    assert written > 300


def test_the_schemas_of_libraries_hold(walk: Walk) -> None:
    for schema in pydantic_schemas().values():
        check(schema, walk)
    for tools in AGENTS.values():
        for schema in tools.values():
            check(schema, walk)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(schema=schemas(), seed=st.integers(0, 10**6))
def test_what_applications_ask_for_holds(walk: Walk, schema: Schema, seed: int) -> None:
    check(schema, walk, seed)
