"""`toolkit models` against the real Triton: nothing that was not named is interrupted."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.grpc.model_config_pb2 import ModelConfig
from typer.testing import CliRunner, Result

from tests.support.processes import free_port
from tests.support.repository import echo_repository, write_echo_chat
from toolkit.cli import app
from toolkit.errors import ServeError, UsageError
from toolkit.runtime.environments import link_environments
from toolkit.runtime.triton import ensure_triton
from toolkit.serve.child import Command
from toolkit.serve.control import ModelStatus, Steps, Version, _to_unload
from toolkit.serve.models import public
from toolkit.serve.probe import probes
from toolkit.serve.triton import TritonServer
from toolkit.serve.triton_command import TritonOptions, triton_command

runner = CliRunner()
KEY = "admin-key=s3cret"
BROKEN = "raise ValueError('this is broken')\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """The echo models, and an ensemble that shares a step with `echo`."""
    folder = tmp_path_factory.mktemp("models")
    repository = folder / "repository"
    repository.mkdir()
    echo_repository(repository)
    write_echo_chat(repository, "twin")
    shutil.rmtree(repository / "twin.engine")
    config = repository / "twin" / "config.pbtxt"
    config.write_text(config.read_text().replace("twin.engine", "echo.engine"))
    link_environments(repository)
    triton = TritonServer(ensure_triton(), TritonOptions(repository, folder / "log"))
    triton.start()
    triton.load(["echo", "echo-embedding"])
    yield triton
    triton.kill()  # Triton 2.51 waits its whole exit timeout after a load that failed
    triton.end()


def run(server: TritonServer, *arguments: str) -> Result:
    return runner.invoke(app, ["models", *arguments, "--triton", server.address])


def result(server: TritonServer, *arguments: str) -> Any:
    result = run(server, *arguments, "--json")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return json.loads(result.stdout)


def refusal(server: TritonServer, *arguments: str) -> ServeError:
    error = run(server, *arguments).exception
    assert isinstance(error, ServeError), error
    return error


def states(server: TritonServer) -> dict[str, str]:
    return {each["model"]: each["state"] for each in result(server, "list", "--steps")}


def folder_of(server: TritonServer, model: str) -> Path:
    return server.options.repository / model


def test_list_tells_models_from_steps(server: TritonServer) -> None:
    found = {each["model"]: each for each in result(server, "list")}
    assert found["echo"]["kind"] == "llm"
    assert found["echo"]["serving"] == [1]
    assert found["echo"]["steps"] == ["echo.engine"]
    assert found["echo-diffusion"]["state"] == "not loaded"
    assert "echo.engine" not in found
    assert "echo.engine" in states(server)
    lines = run(server, "list").stdout.splitlines()
    assert lines[0].split() == ["model", "kind", "serving", "state"]
    assert ["echo", "llm", "1", "ready"] in [line.split() for line in lines]


def test_an_unload_takes_its_own_steps_and_no_others(server: TritonServer) -> None:
    assert result(server, "load", "twin")["serving"] == [1]
    assert result(server, "unload", "twin") == {"model": "twin", "unloaded": ["twin"]}
    assert states(server)["echo.engine"] == "ready"
    result(server, "load", "twin")
    assert result(server, "unload", "echo")["unloaded"] == ["echo"]
    assert result(server, "canary", "twin")[0]["problem"] is None
    assert result(server, "unload", "twin", "--steps", "none")["unloaded"] == ["twin"]
    assert result(server, "unload", "echo.engine")["unloaded"] == ["echo.engine"]
    assert result(server, "load", "echo")["state"] == "ready"
    assert result(server, "unload", "echo-embedding")["unloaded"] == [
        "echo-embedding",
        "echo-embedding.encoder",
    ]
    again = run(server, "unload", "echo-embedding")
    assert again.exit_code == 0
    assert "was not loaded" in again.stderr
    assert run(server, "status", "echo-embedding").exit_code == 1
    assert result(server, "load", "echo-embedding")["state"] == "ready"


def test_a_step_that_is_a_model_of_its_own_stays_unless_all_go() -> None:
    config = ModelConfig(name="e")
    for step in ("tidy", "e.own", "shared"):
        config.ensemble_scheduling.step.add(model_name=step)
    ready = (Version(1, "READY", ""),)
    models = {
        "e": ModelStatus("e", ready, config, ()),
        "tidy": ModelStatus("tidy", ready, None, ("e",)),
        "e.own": ModelStatus("e.own", ready, None, ("e",)),
        "shared": ModelStatus("shared", ready, None, ("e", "other")),
    }
    assert _to_unload("e", models, Steps.OWN) == ["e", "e.own"]
    assert _to_unload("e", models, Steps.ALL) == ["e", "tidy", "e.own"]
    assert _to_unload("e", models, Steps.NONE) == ["e"]


def test_a_step_that_is_needed_stays(server: TritonServer) -> None:
    error = refusal(server, "unload", "echo.engine")
    assert "echo.engine is a step of echo" in error.message
    assert "toolkit models unload echo" in (error.hint or "")


def test_running_requests_end_before_the_model_goes(server: TritonServer) -> None:
    script = json.dumps({"text": json.dumps({"text": "a b c d e f", "delay_ms": 60})})
    request = service_pb2.ModelInferRequest(model_name="echo")
    tensor = request.inputs.add(name="prompt", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(script.encode())
    stream = server.api.ModelStreamInfer(iter([request]), timeout=30)
    said = [next(stream)]
    assert result(server, "unload", "echo")["unloaded"] == ["echo", "echo.engine"]
    said += stream
    assert not [each.error_message for each in said if each.error_message]
    assert len(said) >= 6
    assert result(server, "load", "echo")["serving"] == [1]


def test_a_load_that_fails_leaves_what_serves(server: TritonServer) -> None:
    code = folder_of(server, "echo.engine") / "1" / "model.py"
    good = code.read_text()
    code.write_text(BROKEN)
    try:
        error = refusal(server, "load", "echo.engine")
    finally:
        code.write_text(good)
    assert "this is broken" in error.message
    assert error.hint == "version 1 is still served"
    (answer,) = result(server, "canary", "echo")
    assert answer["problem"] is None
    assert answer["outputs"]["event"].startswith("BYTES")
    assert answer["text"].startswith("The capital of France is")
    assert '"The capital of France is' in run(server, "canary", "echo").stdout


def test_a_probe_does_not_abort_a_canary(server: TritonServer) -> None:
    """A probe cancels an id, which the engine remembers for requests that come later."""
    configs = server.serving()
    found = probes(public(list(configs.values())), configs)
    (probe,) = (each for each in found if each.step == "echo.engine")
    probe.run(server.api, 60)
    (answer,) = result(server, "canary", "echo")
    assert answer["problem"] is None
    assert answer["text"].startswith("The capital of France is")


def test_an_aborted_canary_has_failed(server: TritonServer, tmp_path: Path) -> None:
    ask = tmp_path / "ask.json"
    script = json.dumps({"text": json.dumps({"text": "", "finish_reason": "abort"})})
    tensor = {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": [script]}
    ask.write_text(json.dumps({"inputs": [tensor]}))
    failed = run(server, "canary", "echo", "--request", str(ask))
    assert failed.exit_code == 1
    assert "the model aborted the request" in failed.stdout + failed.stderr


def test_a_version_is_tried_and_taken_back_or_promoted(server: TritonServer) -> None:
    name = "echo-embedding.encoder"
    folder = folder_of(server, name)
    shutil.copytree(folder / "1", folder / "2")
    shutil.copytree(folder / "1", folder / "3")
    (folder / "3" / "model.py").write_text(BROKEN)
    shown = result(server, "versions", name)
    assert shown["policy"] == "latest 1"
    assert [each["version"] for each in shown["versions"]] == [1]
    broken = refusal(server, "canary", name, "--version", "3")
    assert "this is broken" in broken.message
    assert serving(server, name) == [1]
    tried = result(server, "canary", name, "--version", "2", "--count", "2")
    assert [(each["version"], each["problem"]) for each in tried] == [(2, None), (2, None)]
    assert serving(server, name) == [1]
    assert result(server, "canary", name, "--version", "2", "--promote")[0]["problem"] is None
    assert serving(server, name) == [2]
    assert result(server, "load", name, "--version", "1", "--version", "2")["serving"] == [1, 2]
    absent = refusal(server, "load", name, "--version", "2", "--version", "9")
    assert "version 9 is not" in absent.message
    assert result(server, "load", name, "--version", "1")["serving"] == [1]
    for version in ("2", "3"):
        shutil.rmtree(folder / version)


def serving(server: TritonServer, name: str) -> Any:
    return next(x["serving"] for x in result(server, "list", "--steps") if x["model"] == name)


def test_a_canary_that_fails_exits_1_and_changes_nothing(
    server: TritonServer, tmp_path: Path
) -> None:
    ask = tmp_path / "ask.json"
    text = json.dumps({"fail_after": 0, "error": {"message": "no", "status": 400}})
    tensor = {"name": "prompt", "datatype": "BYTES", "shape": [1]}
    ask.write_text(json.dumps({"inputs": [tensor | {"data": [json.dumps({"text": text})]}]}))
    failed = run(server, "canary", "echo", "--request", str(ask))
    assert failed.exit_code == 1
    assert "1 of 1 requests failed" in failed.stderr
    for body, what in {
        "{": "cannot be read",
        '{"inputs": [{"name": "x"}]}': "no 'datatype'",
    }.items():
        ask.write_text(body)
        assert what in refusal(server, "canary", "echo", "--request", str(ask)).message


def test_status_counts_requests(server: TritonServer) -> None:
    before = result(server, "status", "echo")["statistics"]
    result(server, "canary", "echo", "--count", "3")
    after = result(server, "status", "echo")["statistics"]
    assert [each["model"] for each in after] == ["echo", "echo.engine"]
    assert after[0]["requests"] == before[0]["requests"] + 3
    assert "echo: ready" in run(server, "status", "echo").stderr


def test_every_refusal_says_what_to_do(server: TritonServer) -> None:
    error = refusal(server, "unload", "ecko")
    assert error.hint == "did you mean 'echo'?"
    assert "is not loaded" in refusal(server, "canary", "echo-diffusion").message
    never = refusal(server, "load", "echo-diffusion", "--version", "1")
    assert "never been loaded" in never.message
    nobody = runner.invoke(app, ["models", "list", "--triton", f"127.0.0.1:{free_port()}"])
    assert isinstance(nobody.exception, ServeError)
    assert "Triton cannot be reached" in nobody.exception.message
    lost = runner.invoke(app, ["models", "list", "--port", str(free_port())])
    assert isinstance(lost.exception, ServeError)
    assert "toolkit serve" in lost.exception.message
    both = runner.invoke(app, ["models", "list", "--triton", "a:1", "--port", "1"])
    assert isinstance(both.exception, UsageError)


def test_a_restricted_triton_opens_to_its_key(
    server: TritonServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def restricted(*arguments: Any) -> Command:
        made = triton_command(*arguments)
        more = f"--grpc-restricted-protocol=model-repository:{KEY}"
        return replace(made, argv=[*made.argv, more])

    monkeypatch.setattr("toolkit.serve.triton.triton_command", restricted)
    options = TritonOptions(server.options.repository, tmp_path / "log")
    closed = TritonServer(ensure_triton(), options)
    closed.start()
    try:
        error = refusal(closed, "list")
        assert "--key" in (error.hint or "")
        assert result(closed, "list", "--key", KEY)
        assert result(closed, "load", "echo-embedding", "--key", KEY)["serving"]
        assert result(closed, "canary", "echo-embedding", "--key", KEY)[0]["problem"] is None
    finally:
        closed.end()
    with grpc.insecure_channel(server.address) as channel:  # the other one never noticed
        assert service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerLive(
            service_pb2.ServerLiveRequest(), timeout=5
        )
