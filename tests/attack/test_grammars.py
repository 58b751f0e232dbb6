"""Schemas, patterns and grammars that cost far more than their size: only who sends them waits."""

import contextlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.attack.conftest import CHAT, Bystander, Target
from tests.support.processes import wait_for

PATIENCE_S = 30
"""For a structured answer of the second caller, on two cores that others use, too."""


def properties(count: int, **more: Any) -> dict[str, Any]:
    names = {f"p{number}": {"type": "string"} for number in range(count)}
    return {"type": "object", "properties": names, **more}


def nested(depth: int) -> dict[str, Any]:
    """Arrays of at least 20 arrays of at least 20 arrays …"""
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema, "minItems": 20, "maxItems": 40}
    return schema


def ambiguous(alternatives: int) -> str:
    names = " | ".join(f'a{number} "b"' for number in range(alternatives))
    rules = "\n".join(f'a{number} ::= "a"*' for number in range(alternatives))
    return f"root ::= x*\nx ::= {names}\n{rules}"


def response_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def structured(target: Target) -> httpx2.Response:
    """What the second caller wants."""
    body = {
        "model": CHAT,
        "messages": [{"role": "user", "content": "Yes or no?"}],
        "response_format": response_format({"enum": ["yes", "no"]}),
        "max_tokens": 20,
    }
    headers = {"authorization": f"Bearer {target.ada}"}
    url = f"{target.service.url}/v1/chat/completions"
    return httpx2.post(url, json=body, headers=headers, timeout=PATIENCE_S)


def watch_on(second: Bystander) -> None:
    """Until there are enough samples to say what is usual."""
    # a busy machine takes minutes for them; how long each took is what the test judges
    wait_for(lambda: len(second.latencies_s) >= 100, 300, "100 requests of the second caller")


@pytest.mark.parametrize("name", ["grammar", "structural_tag"])
def test_grammars_of_callers_are_off_unless_asked_for(
    target: Target, refused: Callable[[httpx2.Response], dict[str, Any]], name: str
) -> None:
    error = refused(target.chat(structured_outputs={name: ambiguous(3000)}))
    assert error["param"] == f"structured_outputs.{name}"


def attacks() -> dict[str, list[dict[str, Any]]]:
    """By kind, each request unlike the others, so that none is remembered."""
    numbers = range(5)
    function = {"name": "f", "strict": True}
    return {
        "minimum of properties": [
            {"response_format": response_format(properties(900 + n, minProperties=450))}
            for n in numbers
        ],
        "nested repetition": [
            {"response_format": response_format(nested(9 + n))} for n in numbers
        ],
        "long strings": [
            {"response_format": response_format(
                {"type": "array", "minItems": 50,
                 "items": {"type": "string", "minLength": 5000 + n, "maxLength": 90_000}})}
            for n in numbers
        ],
        "tool": [
            {"tool_choice": "required",
             "tools": [{"type": "function", "function": {
                 **function, "parameters": properties(800 + n, minProperties=400)}}]}
            for n in numbers
        ],
        "repetition": [
            {"structured_outputs": {"regex": f"(((a{{1,9{n}}}){{1,99}}){{1,99}}){{1,99}}"}}
            for n in numbers
        ],
        "stars": [
            {"structured_outputs": {"regex": f"(The|I)((((.*)*)*)*)*x{n}|[^TI].*"},
             "max_tokens": 400, "ignore_eos": True}
            for n in numbers
        ],
        "alternatives": [
            {"structured_outputs": {"regex": "|".join(f"(a*)*b{m}{n}" for m in range(2000))}}
            for n in numbers
        ],
        "choices": [
            {"structured_outputs": {"choice": [f"{m * 7919 % 9973} {n}" for m in range(9000)]}}
            for n in numbers
        ],
    }  # fmt: skip


@pytest.mark.parametrize("kind", attacks())
def test_a_costly_grammar_costs_its_sender_alone(target: Target, kind: str) -> None:
    with target.beside() as second, ThreadPoolExecutor(5) as pool:
        sent = [pool.submit(target.chat, timeout_s=200, **body) for body in attacks()[kind]]
        answer = structured(target)
        assert answer.status_code == 200, answer.text
        assert json.loads(answer.json()["choices"][0]["message"]["content"]) in ("yes", "no")
        for one in sent:
            reply = one.result()
            # 502: the answer that the grammar left possible broke the schema
            assert reply.status_code in (200, 400, 502, 503), reply.text[:300]
            if reply.status_code == 400:
                assert reply.json()["error"]["param"], reply.text
            if reply.status_code == 200:
                assert reply.json()["usage"]["completion_tokens"] > 0
        watch_on(second)


def test_abandoned_compiles_hold_nobody_up(target: Target) -> None:
    with target.beside() as second:
        for number in range(8):
            schema = properties(700 + number, minProperties=350)
            with contextlib.suppress(httpx2.TransportError):
                target.post(
                    "/v1/chat/completions",
                    {
                        "model": CHAT,
                        "messages": [{"role": "user", "content": "x"}],
                        "response_format": response_format(schema),
                    },
                    timeout_s=0.5,
                )
        started_s = time.monotonic()
        assert structured(target).status_code == 200
        assert time.monotonic() - started_s < PATIENCE_S
        watch_on(second)
