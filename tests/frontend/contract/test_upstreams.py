"""Several upstreams behind one gateway: other dialects, a loss under load, a drain."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import BadRequestError, OpenAI

from tests.support.echo import EchoTriton, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import status_of, wait_for


def write_upstreams(folder: Path, *entries: dict[str, Any]) -> str:
    file = folder / "upstreams.json"
    file.write_text(json.dumps({"upstreams": entries}))
    return str(file)


@pytest.fixture(scope="module", params=["vllm", "ollama", "anthropic"])
def through(
    request: pytest.FixtureRequest, gateway: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenAI]:
    """A client of a gateway whose upstream is another gateway, in the dialect of `param`."""
    folder = tmp_path_factory.mktemp(f"through-{request.param}")
    entry = {"name": "next", "url": gateway.url, "engine": request.param}
    file = write_upstreams(folder, entry)
    with (
        run_gateway("127.0.0.1:9", folder / "log", "--upstreams", file) as near,
        OpenAI(base_url=f"{near.url}/v1", api_key="unused", max_retries=0) as sdk,
    ):
        yield sdk


def test_a_chat_goes_through_another_dialect(through: OpenAI) -> None:
    given = script(text="one two three")
    whole = through.chat.completions.create(model="echo", messages=given)
    assert whole.choices[0].message.content == "one two three"
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 3
    assert whole.usage.prompt_tokens > 0
    stream = through.chat.completions.create(
        model="echo", messages=given, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "one two three"
    assert chunks[-1].usage == whole.usage


def test_a_refusal_of_the_far_server_is_a_refusal_here(through: OpenAI) -> None:
    error = {"status": 400, "message": "bad temperature", "param": "temperature"}
    given = script(text="a", fail_after=0, error=error)
    with pytest.raises(BadRequestError, match="bad temperature"):
        through.chat.completions.create(model="echo", messages=given)


def test_embeddings_go_through_another_dialect(through: OpenAI, client: OpenAI) -> None:
    if through.models.retrieve("echo-embedding").model_extra["kind"] != "embedding":  # type: ignore[index]
        pytest.skip("Anthropic's API has no embeddings")
    texts = ["one", "two words"]
    far = through.embeddings.create(model="echo-embedding", input=texts)
    near = client.embeddings.create(model="echo-embedding", input=texts)
    assert [d.embedding for d in far.data] == [d.embedding for d in near.data]
    assert far.usage == near.usage


TOOL: Any = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
    },
}


def test_calls_of_tools_go_through_another_dialect(through: OpenAI) -> None:
    call = {"index": 0, "id": "call_1", "name": "look_up", "arguments": '{"q":"a"}'}
    given = script(text="", tool_calls=[call], finish_reason="tool_calls")
    answer = through.chat.completions.create(model="echo", messages=given, tools=[TOOL])
    (choice,) = answer.choices
    assert choice.message.tool_calls is not None
    (made,) = choice.message.tool_calls
    assert made.type == "function"
    assert (made.function.name, json.loads(made.function.arguments)) == ("look_up", {"q": "a"})
    assert choice.finish_reason == "tool_calls"


def test_a_mixed_fleet_is_one_list_of_models(
    gateway: Gateway, echo_triton: EchoTriton, tmp_path: Path
) -> None:
    dialects = ("vllm", "ollama", "anthropic")
    entries = [
        {
            "name": f"far-{dialect}",
            "url": gateway.url,
            "engine": dialect,
            "models": [{"name": f"echo-{dialect}", "own": "echo"}],
        }
        for dialect in dialects
    ]
    near = {"name": "near", "url": echo_triton.grpc_address, "models": [{"name": "echo"}]}
    file = write_upstreams(tmp_path, near, *entries)
    with (
        run_gateway("127.0.0.1:9", tmp_path / "log", "--upstreams", file) as mixed,
        OpenAI(base_url=f"{mixed.url}/v1", api_key="unused", max_retries=0) as sdk,
    ):
        names = ["echo", *(f"echo-{dialect}" for dialect in sorted(dialects))]
        wait_for(lambda: [one.id for one in sdk.models.list()] == names, what="all models")
        usages = []
        for name in names:
            given = script(text="one two three")
            answer = sdk.chat.completions.create(model=name, messages=given)
            assert answer.choices[0].message.content == "one two three"
            assert answer.usage is not None
            usages.append((answer.usage.prompt_tokens, answer.usage.completion_tokens))
            stream = sdk.chat.completions.create(model=name, messages=given, stream=True)
            texts = [one.choices[0].delta.content or "" for one in stream if one.choices]
            assert "".join(texts) == "one two three"
        assert len(set(usages)) == 1
        # the same models for clients of the other dialects
        tags = httpx2.get(f"{mixed.url}/api/tags").json()["models"]
        assert {one["name"].removesuffix(":latest") for one in tags} == {*names}
        body = {"model": "echo-ollama", "max_tokens": 9, "messages": script(text="hi")}
        message = httpx2.post(f"{mixed.url}/v1/messages", json=body).json()
        assert message["content"] == [{"type": "text", "text": "hi"}]


async def test_a_triton_killed_under_load_is_not_seen_by_clients(
    echo_triton: EchoTriton, mortal_triton: EchoTriton, tmp_path: Path
) -> None:
    """Requests without a first byte go to the other one; none of them fails."""
    file = write_upstreams(
        tmp_path,
        {"name": "stays", "url": echo_triton.grpc_address},
        {"name": "dies", "url": mortal_triton.grpc_address, "priority": 1},
    )
    with run_gateway("127.0.0.1:9", tmp_path / "log", "--upstreams", file) as gateway:
        wait_for(lambda: status_of(f"{gateway.url}/v1/models/echo") == 200, what="the model")
        # nothing comes of an answer before its first delay is over
        body = {"model": "echo", "messages": script(text="whole", first_delay_ms=3000)}
        async with httpx2.AsyncClient(timeout=60) as http:
            url = f"{gateway.url}/v1/chat/completions"
            asked = [asyncio.create_task(http.post(url, json=body)) for _ in range(40)]

            def runs_there() -> bool:
                lines = httpx2.get(f"{gateway.url}/metrics").text.splitlines()
                mine = 'gateway_upstream_running{upstream="dies"} '
                return any(one.startswith(mine) and not one.endswith(" 0.0") for one in lines)

            await asyncio.to_thread(wait_for, runs_there, what="a request at the one that dies")
            mortal_triton.kill()
            answers = await asyncio.gather(*asked)
            assert {one.status_code for one in answers} == {200}
            contents = {one.json()["choices"][0]["message"]["content"] for one in answers}
            assert contents == {"whole"}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"name": "a b", "url": "http://x"}, "'upstreams[0].name' is 'a b'"),
        ({"name": "a", "url": "http://x", "engine": "what"}, "'upstreams[0].engine' is 'what'"),
        ({"name": "a", "url": "http://u@x", "engine": "vllm"}, "'url' of a is 'http://u@x'"),
        ({"name": "a", "url": "x", "max_concurrent": 0}, "'upstreams[0].max_concurrent' is 0"),
        (
            {"name": "a", "url": "x", "max_concurrent": 9, "max_num_seqs": 8},
            "'upstreams[0].max_concurrent' is 9, more than the engine's max_num_seqs of 8",
        ),
        ({"name": "a", "url": "http://x", "api_key_file": "/none", "engine": "openai"}, "'/none'"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_field_and_value(
    entry: dict[str, Any], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from frontend.serve import main

    file = write_upstreams(tmp_path, {"url": "x", **entry})
    data = ["--data-directory", str(tmp_path / "data")]
    assert main(["serve", "--port", "0", "--upstreams", file, *data]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "setting 'upstreams'" in error
