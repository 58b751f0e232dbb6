"""Several upstreams behind one gateway: one list of models, a loss under load, wrong entries."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from tests.support.echo import EchoTriton, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import status_of, wait_for


def write_upstreams(folder: Path, *entries: dict[str, Any]) -> str:
    file = folder / "upstreams.json"
    file.write_text(json.dumps({"upstreams": entries}))
    return str(file)


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
