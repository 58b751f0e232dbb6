"""Schemas of requests, and answers that are not what they ask for, in every dialect."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import APIError, InternalServerError, OpenAI

from tests.support.echo import EchoTriton, echo_requests, script
from tests.support.gateway import run_gateway
from tests.support.schema_libraries import AGENTS


def test_a_wrong_answer_is_an_error_and_no_answer(client: OpenAI) -> None:
    with pytest.raises(InternalServerError) as caught:
        client.chat.completions.create(
            model="echo", messages=script(text="{nope"), response_format={"type": "json_object"}
        )
    assert caught.value.status_code == 502
    assert caught.value.code == "invalid_structured_output"


def test_a_stream_ends_with_the_error_in_place_of_its_finish(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="echo",
        messages=script(text="{nope at all", chunks=3),
        response_format={"type": "json_object"},
        stream=True,
    )
    finished = []

    def read() -> None:
        for chunk in stream:
            finished.extend(choice.finish_reason for choice in chunk.choices)

    with pytest.raises(APIError, match="response_format"):
        read()
    assert finished
    assert set(finished) == {None}


def test_an_answer_that_was_cut_is_the_clients_to_judge(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="echo",
        messages=script(text='{"a": 1}', chunks=4),
        response_format={"type": "json_object"},
        max_tokens=2,
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content == '{"a"'


UNIQUE = {
    "type": "object",
    "properties": {"tags": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}},
    "required": ["tags"],
}
GOOD, BAD = '{"tags": [1, 2]}', '{"tags": [1, 1]}'
SCHEMA_PLACES: dict[str, tuple[str, Any]] = {
    "/v1/chat/completions": (
        "response_format.json_schema.schema",
        lambda s: {"response_format": {"type": "json_schema",
                                       "json_schema": {"name": "x", "schema": s}}},
    ),
    "/v1/completions": ("structured_outputs.json", lambda s: {"structured_outputs": {"json": s}}),
    "/v1/responses": (
        "text.format.schema",
        lambda s: {"text": {"format": {"type": "json_schema", "name": "x", "schema": s}}},
    ),
    "/v1/messages": (
        "output_config.format.schema",
        lambda s: {"output_config": {"format": {"type": "json_schema", "schema": s}}},
    ),
    "/api/chat": ("format", lambda s: {"format": s}),
    "/api/generate": ("format", lambda s: {"format": s}),
}  # fmt: skip


def body_for(path: str, said: str, **fields: Any) -> dict[str, Any]:
    """A request of any dialect whose answer is `said`, in one piece."""
    told = json.dumps({"text": said, "chunks": 1})
    body = {"model": "echo", "max_tokens": 99, "stream": False}
    if path == "/v1/responses":
        return {"model": "echo", "input": told, **fields}
    if path.endswith(("completions", "generate")) and "chat" not in path:
        return {**body, "prompt": told, **fields}
    return {**body, "messages": [{"role": "user", "content": told}], **fields}


@pytest.mark.parametrize("path", SCHEMA_PLACES)
def test_an_answer_is_held_to_its_schema_in_every_dialect(raw: httpx2.Client, path: str) -> None:
    param, fields = SCHEMA_PLACES[path]
    good = raw.post(path, json=body_for(path, GOOD, **fields(UNIQUE)))
    assert good.status_code == 200, good.text
    assert f"{param}.properties.tags.uniqueItems" in good.headers["warning"]
    bad = raw.post(path, json=body_for(path, BAD, **fields(UNIQUE)))
    assert bad.status_code == 502, bad.text
    assert f"'{param}'" in bad.text


@pytest.mark.parametrize("path", SCHEMA_PLACES)
def test_a_stream_tells_of_a_wrong_answer_in_every_dialect(raw: httpx2.Client, path: str) -> None:
    param, fields = SCHEMA_PLACES[path]
    answer = raw.post(path, json=body_for(path, BAD, **fields(UNIQUE), stream=True))
    assert answer.status_code == 200
    assert param in answer.headers["warning"]
    assert f"does not match '{param}'" in answer.text
    assert '"finish_reason":"stop"' not in answer.text
    assert "message_stop" not in answer.text
    assert '"done":true' not in answer.text
    assert "response.completed" not in answer.text


@pytest.mark.parametrize("path", SCHEMA_PLACES)
def test_a_schema_that_leads_elsewhere_is_refused_in_every_dialect(
    raw: httpx2.Client, path: str
) -> None:
    param, fields = SCHEMA_PLACES[path]
    for keyword in ("$schema", "$ref", "$dynamicRef"):
        schema = {keyword: "http://127.0.0.1:9/x"}
        answer = raw.post(path, json=body_for(path, GOOD, **fields(schema)))
        assert answer.status_code == 400, answer.text
        assert f"{param}.{keyword}" in answer.text


def test_arguments_of_a_strict_tool_are_held_to_its_schema(client: OpenAI) -> None:
    calls = [{"name": "tag", "arguments": BAD}]
    tool: Any = {"type": "function", "function": {"name": "tag", "parameters": UNIQUE}}
    answer = client.chat.completions.with_raw_response.create(
        model="echo",
        messages=script(tool_calls=calls, finish_reason="tool_calls"),
        tools=[tool],
    )
    assert "arguments for 'tag' do not match 'tools[0]" in answer.headers["warning"]
    (call,) = answer.parse().choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert call.function.arguments == BAD
    tool["function"]["strict"] = True
    with pytest.raises(InternalServerError) as caught:
        client.chat.completions.create(
            model="echo",
            messages=script(tool_calls=calls, finish_reason="tool_calls"),
            tools=[tool],
        )
    assert caught.value.param == "tools[0].function.parameters"


@pytest.mark.parametrize("agent", AGENTS)
def test_the_tools_of_agents_are_taken(client: OpenAI, agent: str) -> None:
    tools: Any = [
        {"type": "function", "function": {"name": name, "parameters": schema}}
        for name, schema in AGENTS[agent].items()
    ]
    for choice in ("auto", "required"):
        client.chat.completions.create(
            model="echo", messages=script(text="hi"), tools=tools, tool_choice=choice
        )


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("guided_json", lambda given: {"guided_json": given}),
        ("structured_outputs.json", lambda given: {"structured_outputs": {"json": given}}),
    ],
)
def test_a_text_schema_is_read_and_named_as_it_came(
    raw: httpx2.Client, name: str, fields: Any
) -> None:
    path = "/v1/chat/completions"
    cases = [("{nope", name), ("[]", name), ({"type": "cat"}, f"{name}.type")]
    for given, param in cases:
        answer = raw.post(path, json=body_for(path, GOOD, **fields(given)))
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param
    for given in (UNIQUE, json.dumps(UNIQUE)):
        assert raw.post(path, json=body_for(path, GOOD, **fields(given))).status_code == 200


def test_an_answer_is_generated_again_where_the_operator_says_so(
    echo_triton: EchoTriton, tmp_path: Path
) -> None:
    """The echo engine repeats its last message: the reason, which is still not valid JSON."""
    flags = ("--schema-retries", "2")
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway:
        before = {request["id"] for request in echo_requests(echo_triton)}
        path = "/v1/chat/completions"
        fields = SCHEMA_PLACES[path][1](UNIQUE)
        url = gateway.url + path
        answer = httpx2.post(url, json=body_for(path, BAD, **fields), timeout=30)
        assert answer.status_code == 502
        assert len({request["id"] for request in echo_requests(echo_triton)} - before) == 3
