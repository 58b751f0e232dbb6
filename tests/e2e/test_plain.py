"""A real vLLM by the tensors of Triton's own vLLM backend, which our engine has as well."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI

from tests.e2e.conftest import CHAT
from tests.support.gateway import run_gateway
from tests.support.processes import Service, status_of, wait_for

MESSAGES: list[Any] = [
    {"role": "system", "content": "You answer in one word."},
    {"role": "user", "content": "What is the capital of France?"},
]


def flags_of(service: Service, *names: str) -> list[str]:
    """What the service's own gateway was started with."""
    lines = [process.cmdline() for process in service.named("frontend")]
    line = next(one for one in lines if "--triton" in one)
    return [word for name in names if name in line for word in (name, line[line.index(name) + 1])]


@pytest.fixture(scope="module")
def plain(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    """A gateway that only knows the engine, and not what this toolkit says about its model."""
    folder = tmp_path_factory.mktemp("plain")
    (_, address) = flags_of(service, "--triton")
    model = {"name": "plain", "own": f"{CHAT}.engine", "chat_template": "chatml"}
    entry = {"name": "a", "url": address, "models": [{**model, "context_length": 2048}]}
    file = folder / "upstreams.json"
    file.write_text(json.dumps({"upstreams": [entry]}))
    flags = ["--upstreams", str(file), *flags_of(service, "--triton-key-file")]
    with (
        run_gateway("127.0.0.1:9", folder / "log", *flags) as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as sdk,
    ):
        wait_for(lambda: status_of(f"{gateway.url}/v1/models/plain") == 200, what="the model")
        yield sdk


def test_the_plain_tensors_give_the_same_answer_as_the_contract(
    plain: OpenAI, client: OpenAI
) -> None:
    asked: Any = {"messages": MESSAGES, "temperature": 0, "max_tokens": 12}
    ours = client.chat.completions.create(model=CHAT, **asked)
    theirs = plain.chat.completions.create(model="plain", **asked)
    assert theirs.choices[0].message.content == ours.choices[0].message.content
    assert theirs.choices[0].finish_reason == ours.choices[0].finish_reason
    assert theirs.usage is not None
    assert ours.usage is not None
    assert theirs.usage.prompt_tokens == ours.usage.prompt_tokens
    assert theirs.usage.completion_tokens == ours.usage.completion_tokens
    stream = plain.chat.completions.create(model="plain", stream=True, **asked)
    pieces = [one.choices[0].delta.content or "" for one in stream if one.choices]
    assert "".join(pieces) == ours.choices[0].message.content
    assert len(pieces) > 2


SIZE = {
    "type": "object",
    "properties": {
        "size": {"enum": ["small", "large"]},
        "count": {"type": "integer", "maximum": 9},
    },
    "required": ["size", "count"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("stream", [False, True])
def test_vllm_holds_an_answer_to_a_schema_by_the_plain_tensors(plain: OpenAI, stream: bool) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "size", "schema": SIZE}}
    asked: Any = {"model": "plain", "temperature": 0, "max_tokens": 200, "stream": stream}
    made: Any = plain.chat.completions.create(messages=MESSAGES, response_format=schema, **asked)
    text = (
        "".join(one.choices[0].delta.content or "" for one in made if one.choices)
        if stream
        else made.choices[0].message.content
    )
    answer = json.loads(text)
    assert answer.keys() == {"size", "count"}
    assert answer["size"] in ("small", "large")


def test_vllm_makes_the_call_that_must_be_made_by_the_plain_tensors(plain: OpenAI) -> None:
    functions = [{"name": name, "parameters": SIZE} for name in ("pack", "unpack")]
    tools: Any = [{"type": "function", "function": one} for one in functions]
    asked: Any = {"model": "plain", "messages": MESSAGES, "temperature": 0, "max_tokens": 300}
    for choice, names in (
        ("required", {"pack", "unpack"}),
        ({"type": "function", "function": {"name": "unpack"}}, {"unpack"}),
    ):
        answer = plain.chat.completions.create(
            tools=tools, tool_choice=choice, parallel_tool_calls=False, **asked
        )
        assert answer.choices[0].finish_reason == "tool_calls"
        (call,) = answer.choices[0].message.tool_calls or ()
        assert call.function.name in names
        assert json.loads(call.function.arguments).keys() == {"size", "count"}
