"""Admins load and unload models with Ollama's own client; a Triton of this module's own."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import ollama
import pytest

from frontend.accounts.keyfile import add_key
from tests.support.echo import EchoTriton, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import wait_for


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    file = tmp_path_factory.mktemp("keys") / "keys"
    return file, add_key(file, "ops", "admin")


@pytest.fixture(scope="module")
def own_gateway(own_triton: EchoTriton, keys: tuple[Path, str]) -> Iterator[Gateway]:
    log = keys[0].parent / "log"
    with run_gateway(own_triton.grpc_address, log, "--keys-file", str(keys[0])) as gateway:
        yield gateway


@pytest.fixture
def api(own_gateway: Gateway, keys: tuple[Path, str]) -> Iterator[ollama.Client]:
    headers = {"authorization": f"Bearer {keys[1]}"}
    client = ollama.Client(host=own_gateway.url, headers=headers)
    yield client
    client._client.close()


def names(api: ollama.Client) -> set[str]:
    return {str(model.model) for model in api.list().models}


def said(api: ollama.Client) -> str:
    answer = api.chat("echo", messages=[{"role": "user", "content": "a b"}])
    return str(answer.message.content)


def test_deleted_and_pulled_back(api: ollama.Client) -> None:
    assert said(api) == "a b"
    api.delete("echo")
    assert "echo:latest" not in names(api)
    with pytest.raises(ollama.ResponseError, match="not loaded now"):
        said(api)
    told = [part.status for part in api.pull("echo:latest", stream=True)]
    assert told[0] == "loading echo"
    assert told[-1] == "success"
    assert said(api) == "a b"


def test_unloaded_by_keep_alive_and_loaded_whole(api: ollama.Client) -> None:
    gone = api.generate("echo", keep_alive=0)
    assert gone.done_reason == "unload"
    assert "echo:latest" not in names(api)
    assert api.pull("echo").status == "success"
    assert api.pull("echo").status == "success"  # of a loaded model: what changed
    assert said(api) == "a b"


def test_what_is_not_there(api: ollama.Client) -> None:
    for call in (api.pull, api.delete):
        with pytest.raises(ollama.ResponseError, match="has no model 'nothing'") as refused:
            call("nothing")
        assert refused.value.status_code == 404
    for name in ("../../etc", "echo/../x", "a" * 3000):
        with pytest.raises(ollama.ResponseError):
            api.pull(name)


def test_a_load_that_fails_is_told(
    api: ollama.Client, own_gateway: Gateway, echo_repository: Path
) -> None:
    broken = echo_repository / "broken"
    broken.mkdir()
    try:
        (broken / "config.pbtxt").write_text('backend: "nothing"\nmax_batch_size: 0\n')
        (broken / "1").mkdir()
        with pytest.raises(ollama.ResponseError, match="'broken' cannot be loaded"):
            api.pull("broken")
        with pytest.raises(ollama.ResponseError, match="'broken' cannot be loaded"):
            list(api.pull("broken", stream=True))
    finally:
        (broken / "config.pbtxt").unlink()
        (broken / "1").rmdir()
        broken.rmdir()
    said = "broken does not load"
    wait_for(lambda: said in own_gateway.log.read_text(), what="the line")


def test_curls_own_content_type_is_taken(own_gateway: Gateway, keys: tuple[Path, str]) -> None:
    url = f"{own_gateway.url}/api/chat"
    headers = {
        "authorization": f"Bearer {keys[1]}",
        "content-type": "application/x-www-form-urlencoded",
    }
    body = {"model": "echo", "messages": script(text="a b"), "stream": False}
    found = httpx2.post(url, headers=headers, content=httpx2.Request("POST", url, json=body).read())
    assert found.json()["message"]["content"] == "a b"
    page = {**headers, "origin": "https://elsewhere.example"}
    content = httpx2.Request("POST", url, json=body).read()
    assert httpx2.post(url, headers=page, content=content).status_code == 415


def test_idle_models_are_unloaded_and_a_request_loads_them(
    own_triton: EchoTriton, tmp_path: Path
) -> None:
    flags = ("--keep-alive", "1s", "--poll-interval-s", "0.1", "--heartbeat-s", "0.05")
    with run_gateway(own_triton.grpc_address, tmp_path / "log", *flags) as gateway:
        api = ollama.Client(host=gateway.url)

        def loaded() -> dict[str, object]:
            return {str(model.model): model.expires_at for model in api.ps().models}

        def is_idle() -> bool:
            return "unloading echo, which was idle" in gateway.log.read_text()

        wait_for(lambda: is_idle() and "echo:latest" not in loaded(), what="the unload")
        assert "echo:latest" in names(api), "it is still served"
        body = {"model": "echo", "messages": script(text="a b"), "stream": True}
        streamed = httpx2.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=60)
        assert streamed.text.startswith(": waiting"), "a heartbeat while it loads"
        assert streamed.text.rstrip().endswith("data: [DONE]")
        # a model with a stream is not idle, however long this takes
        held = {**body, "messages": script(text="a", never_finish=True)}
        with httpx2.stream("POST", f"{gateway.url}/v1/chat/completions", json=held) as answer:
            assert next(line for line in answer.iter_lines() if line.startswith("data: "))
            assert loaded()["echo:latest"] is not None
        api._client.close()
