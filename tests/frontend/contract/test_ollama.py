"""Ollama's own client, the gateway process and the real Triton."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import ollama
import pytest

from tests.support.echo import EchoTriton, echo_requests, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import free_port


@pytest.fixture
def api(gateway: Gateway) -> Iterator[ollama.Client]:
    client = ollama.Client(host=gateway.url)
    yield client
    client._client.close()


def test_it_is_running(gateway: Gateway, api: ollama.Client) -> None:
    answer = httpx2.get(gateway.url)
    assert answer.text == "Ollama is running"
    assert httpx2.head(gateway.url).status_code == 200
    version = httpx2.get(f"{gateway.url}/api/version").json()["version"]
    assert all(part.isdecimal() for part in version.split("."))


def test_chat_streams_and_answers(api: ollama.Client) -> None:
    messages = [{"role": "user", "content": "one two three"}]
    whole = api.chat("echo", messages=messages)
    assert whole.message.content == "one two three"
    assert (whole.done, whole.done_reason) == (True, "stop")
    assert (whole.prompt_eval_count, whole.eval_count) == (3, 3)
    parts = list(api.chat("echo:latest", messages=messages, stream=True))
    assert "".join(str(part.message.content) for part in parts) == "one two three"
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    last = parts[-1]
    times = (last.load_duration, last.prompt_eval_duration, last.eval_duration)
    assert last.total_duration is not None
    assert last.total_duration >= sum(time or 0 for time in times) > 0


def test_streams_are_lines_as_they_come(gateway: Gateway) -> None:
    body = {"model": "echo", "messages": script(text="a b c", delay_ms=50)}
    with httpx2.stream("POST", f"{gateway.url}/api/chat", json=body) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in answer.iter_lines()]
    assert len(lines) >= 4
    assert lines[0]["created_at"] < lines[-1]["created_at"]


def test_tools_have_objects_for_arguments(api: ollama.Client, echo_triton: EchoTriton) -> None:
    def weather(city: str) -> str:
        """Tells the weather.

        Args:
            city: where
        """
        return city

    calls = [{"name": "weather", "arguments": '{"city": "Zürich"}'}]
    answer = api.chat(
        "echo", messages=script(tool_calls=calls, finish_reason="tool_calls"), tools=[weather]
    )
    (call,) = answer.message.tool_calls or ()
    assert call.function.name == "weather"
    assert call.function.arguments == {"city": "Zürich"}
    (tool,) = echo_requests(echo_triton)[-1]["prompt"]["tools"]
    assert tool["function"]["name"] == "weather"


def test_generate_continues_from_its_context(api: ollama.Client, echo_triton: EchoTriton) -> None:
    api.generate("echo", "hello", system="be brief", context=[5, 6])
    told = echo_requests(echo_triton)[-1]
    assert told["prompt"]["prefix_token_ids"] == [5, 6]
    assert told["prompt"]["messages"][0] == {"role": "system", "content": "be brief"}
    assert told["reply"] == {"prompt_token_ids": True}
    raw = api.generate("echo", "just this", raw=True)
    assert raw.response == "just this"
    assert echo_requests(echo_triton)[-1]["prompt"]["text"] == "just this"


def test_an_empty_prompt_loads(api: ollama.Client) -> None:
    loaded = api.generate("echo")
    assert (loaded.done, loaded.done_reason, loaded.response) == (True, "load", "")
    with pytest.raises(ollama.ResponseError) as refused:
        api.generate("echo", keep_alive=0)
    assert refused.value.status_code == 403


def test_a_schema_is_enforced_and_checked(api: ollama.Client, echo_triton: EchoTriton) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    good = api.chat("echo", messages=script(text='{"a": 1}'), format=schema)
    assert json.loads(str(good.message.content)) == {"a": 1}
    parameters = echo_requests(echo_triton)[-1]["sampling_parameters"]
    assert parameters["structured_outputs"]["json"].items() >= schema.items()
    with pytest.raises(ollama.ResponseError):
        api.chat("echo", messages=script(text="nonsense"), format=schema)


def test_failures_have_ollamas_shape(gateway: Gateway, api: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as missing:
        api.chat("nobody", messages=[{"role": "user", "content": "hi"}])
    assert (missing.value.status_code, missing.value.error) == (404, "model 'nobody' not found")
    for path in ("/api/nonesuch", "/api/chat"):
        answer = httpx2.post(f"{gateway.url}{path}", json={"messages": 5})
        assert answer.status_code >= 400
        assert list(answer.json()) == ["error"]
    lines = api.chat("echo", messages=script(text="a b c", fail_after=1), stream=True)
    with pytest.raises(ollama.ResponseError):
        list(lines)


def test_warnings_are_told_in_a_header(gateway: Gateway) -> None:
    body = {
        "model": "echo",
        "messages": [{"role": "user", "content": "hi"}],
        "options": {"num_gpu": 1, 'a"\r\nb': 2},
        "stream": False,
    }
    answer = httpx2.post(f"{gateway.url}/api/chat", json=body)
    assert answer.status_code == 200
    assert "num_gpu: is set by the operator" in answer.headers["warning"]
    impossible = body | {"options": {"mirostat": 1}}
    answer = httpx2.post(f"{gateway.url}/api/chat", json=impossible)
    assert answer.status_code == 400
    assert "mirostat" in answer.json()["error"]


def test_what_changes_models_is_the_operators(api: ollama.Client) -> None:
    calls: list[Any] = [
        lambda: api.pull("mistral"),
        lambda: api.push("mistral"),
        lambda: api.delete("echo"),
        lambda: api.copy("echo", "other"),
        lambda: api.create("other", from_="echo"),
        lambda: api.create_blob(Path(__file__)),
    ]
    for call in calls:
        with pytest.raises(ollama.ResponseError) as refused:
            call()
        assert refused.value.status_code in (403, 404)


def test_models_are_listed_shown_and_running(api: ollama.Client) -> None:
    names = {model.model for model in api.list().models}
    assert {"echo:latest", "echo-embedding:latest"} <= names
    shown = api.show("echo")
    assert "completion" in (shown.capabilities or [])
    assert shown.modelinfo
    assert "echo:latest" in {model.model for model in api.ps().models}


def test_embeddings_in_both_shapes(api: ollama.Client) -> None:
    many = api.embed("echo-embedding", ["a cat", "a dog"])
    assert len(many.embeddings) == 2
    assert many.prompt_eval_count
    one = api.embeddings("echo-embedding", "a cat")
    assert list(one.embedding) == pytest.approx(list(many.embeddings[0]))


async def test_the_async_client_leaves_in_mid_stream(gateway: Gateway) -> None:
    client = ollama.AsyncClient(host=gateway.url)
    stream = await client.chat("echo", messages=script(text="a b c", delay_ms=20), stream=True)
    async for part in stream:
        assert part.message.content
        break
    await stream.aclose()  # type: ignore[attr-defined]
    await client._client.aclose()


def test_names_are_mapped_and_circles_refused(echo_triton: EchoTriton, tmp_path: Path) -> None:
    mapping = {"mistral:latest": "llama3", "llama3": "echo"}
    flags = ["--models", json.dumps(mapping), "--ollama-port", str(port := free_port())]
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway:
        for url in (gateway.url, f"http://127.0.0.1:{port}"):
            client = ollama.Client(host=url)
            for name in ("mistral", "mistral:latest", "llama3:latest"):
                answer = client.chat(name, messages=[{"role": "user", "content": "hi"}])
                assert (answer.model, answer.message.content) == (name, "hi")
            assert "mistral:latest" in {model.model for model in client.list().models}
            client._client.close()
    circle = json.dumps({"a": "b", "b": "a"})
    with (
        pytest.raises(AssertionError, match="is a cycle"),
        run_gateway(echo_triton.grpc_address, tmp_path / "log", "--models", circle),
    ):
        pass


def test_a_history_beyond_the_context_is_shortened_unless_that_is_refused(
    gateway: Gateway, api: ollama.Client, echo_triton: EchoTriton
) -> None:
    long = [{"role": "user", "content": "word " * 5000}, {"role": "user", "content": "hi"}]
    assert api.chat("echo", messages=long).message.content == "hi"
    told = echo_requests(echo_triton)[-1]["prompt"]
    assert told["truncate"] == {"reply": 1024, "keep": 4}
    body = {"model": "echo", "messages": long, "truncate": False, "stream": False}
    refused = httpx2.post(f"{gateway.url}/api/chat", json=body)
    assert refused.status_code == 400
    assert "the input length exceeds the context length" in refused.json()["error"]
    api.chat("echo", messages=long, options={"num_ctx": 512, "num_predict": 4096})
    asked = echo_requests(echo_triton)[-1]
    assert asked["prompt"]["context_length"] == asked["reply"]["context_length"] == 512
    assert "max_tokens" not in asked["sampling_parameters"]
