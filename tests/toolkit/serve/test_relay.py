"""What others reach of Triton: inference, and loading by name with a key. The real service."""

import base64
import contextlib
import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx2
import psutil
import pytest
from openai import OpenAI
from tritonclient.grpc import service_pb2, service_pb2_grpc
from typer.testing import CliRunner

from frontend.accounts.keyfile import add_key
from tests.support.echo import script
from tests.support.gateway import run_gateway
from tests.support.processes import ROOT, Service, free_port, wait_for
from toolkit.cli import app
from toolkit.errors import ServeError, UsageError
from toolkit.serve.connection import Key, connected
from toolkit.serve.relay import Relay

SECRET = "0123456789abcdef0123456789abcdef"
CODE = "open({path!r}, 'w').close()\nraise RuntimeError('loaded')\n"
Api = service_pb2_grpc.GRPCInferenceServiceStub


@dataclass
class Open:
    """A `toolkit serve --triton-only`, and the file of the key that its owner holds."""

    service: Service
    key_file: Path
    repository: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.service.port}"

    def api(self, key: str | None = None) -> contextlib.AbstractContextManager[Any]:
        return connected(self.address, Key.parse(key) if key else None)


@pytest.fixture(scope="module")
def triton(echo_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    folder = tmp_path_factory.mktemp("relay")
    repository = folder / "repository"
    shutil.copytree(echo_repository, repository, symlinks=True)
    key_file, port, log = folder / "key", free_port(), folder / "log"
    key_file.touch(0o600)
    key_file.write_text(f"control={SECRET}\n")
    command = [sys.executable, "-m", "toolkit", "serve", str(repository), "--triton-only"]
    command += ["--triton-port", str(port), "--control-key-file", str(key_file)]
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, cwd=ROOT)
    service = Service(process, port, log)
    wait_for(lambda: "Ready at" in log.read_text() or process.poll() is not None, what="serving")
    assert process.poll() is None, log.read_text()
    yield Open(service, key_file, repository)
    process.terminate()
    assert process.wait(60) == 0


def load_request(name: str = "echo", **parameters: str) -> service_pb2.RepositoryModelLoadRequest:
    request = service_pb2.RepositoryModelLoadRequest(model_name=name)
    for key, value in parameters.items():
        if key == "config":
            request.parameters[key].string_param = value
        else:
            request.parameters[f"file:1/{key}.py"].bytes_param = value.encode()
    return request


CONTROL: dict[str, Callable[[Api], Any]] = {
    "load": lambda api: api.RepositoryModelLoad(load_request(), timeout=10),
    "unload": lambda api: api.RepositoryModelUnload(
        service_pb2.RepositoryModelUnloadRequest(model_name="echo"), timeout=10
    ),
    "shared memory": lambda api: api.SystemSharedMemoryRegister(
        service_pb2.SystemSharedMemoryRegisterRequest(name="a", key="/psm_1", byte_size=1),
        timeout=10,
    ),
    "shared memory status": lambda api: api.SystemSharedMemoryStatus(
        service_pb2.SystemSharedMemoryStatusRequest(), timeout=10
    ),
    "CUDA shared memory": lambda api: api.CudaSharedMemoryStatus(
        service_pb2.CudaSharedMemoryStatusRequest(), timeout=10
    ),
    "log settings": lambda api: api.LogSettings(service_pb2.LogSettingsRequest(), timeout=10),
    "traces": lambda api: api.TraceSetting(service_pb2.TraceSettingRequest(), timeout=10),
}


@pytest.mark.parametrize("key", [None, "control=wrong-wrong-wrong", f"admin={SECRET}"])
@pytest.mark.parametrize("call", CONTROL)
def test_without_the_key_nothing_is_changed(triton: Open, call: str, key: str | None) -> None:
    with triton.api(key) as api, pytest.raises(grpc.RpcError) as refused:
        CONTROL[call](api)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("call", sorted(set(CONTROL) - {"load", "unload"}))
def test_the_key_opens_loading_alone(triton: Open, call: str) -> None:
    with triton.api(f"control={SECRET}") as api, pytest.raises(grpc.RpcError) as refused:
        CONTROL[call](api)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("key", [None, f"control={SECRET}"])
@pytest.mark.parametrize("name", ["evil", "echo.engine"])
def test_nobody_runs_code_of_their_own(
    triton: Open, tmp_path: Path, name: str, key: str | None
) -> None:
    ran = tmp_path / "ran"
    config = json.loads(
        '{"backend": "python", "max_batch_size": 0, "input": [], "output": [],'
        ' "instance_group": [{"kind": "KIND_CPU"}]}'
    )
    code = CODE.format(path=str(ran))
    encoded = base64.b64encode(code.encode()).decode()
    for request in (
        load_request(name, config=json.dumps({**config, "name": name}), model=code),
        load_request(name, config=json.dumps({**config, "name": name}), model=encoded),
        load_request(name, config=json.dumps({**config, "name": name})),
        load_request(name, model=code),
    ):
        with triton.api(key) as api, pytest.raises(grpc.RpcError) as refused:
            api.RepositoryModelLoad(request, timeout=10)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert not ran.exists()
    with triton.api() as api:
        index = api.RepositoryIndex(service_pb2.RepositoryIndexRequest(), timeout=10).models
    assert name == "echo.engine" or name not in {model.name for model in index}


def test_the_key_loads_and_unloads_by_name(triton: Open) -> None:
    with triton.api(f"control={SECRET}") as api:
        request = service_pb2.RepositoryModelUnloadRequest(model_name="echo-diffusion")
        api.RepositoryModelUnload(request, timeout=10)
        api.RepositoryModelLoad(load_request("echo-diffusion"), timeout=60)
        ready = service_pb2.ModelReadyRequest(name="echo-diffusion")
        assert api.ModelReady(ready, timeout=10).ready


def test_inference_needs_no_key(triton: Open) -> None:
    request = service_pb2.ModelInferRequest(model_name="echo-embedding")
    request.inputs.add(name="text", datatype="BYTES", shape=[1, 1])
    request.raw_input_contents.append(struct.pack("<I", 1) + b"a")
    with triton.api() as api:
        assert len(api.ModelInfer(request, timeout=10).raw_output_contents) == 2
        request.model_name = "nonesuch"
        with pytest.raises(grpc.RpcError, match="unknown model"):
            api.ModelInfer(request, timeout=10)


def test_no_process_shows_the_key(triton: Open) -> None:
    words = [word for process in triton.service.family() for word in process.cmdline()]
    assert words
    assert not [word for word in words if SECRET in word]


def test_only_the_relay_listens(triton: Open) -> None:
    listening = {
        connection.laddr.port
        for process in triton.service.family()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {triton.service.port}


def test_a_gateway_elsewhere_streams_cancels_and_loads_with_the_key(
    triton: Open, tmp_path: Path
) -> None:
    secret = add_key(tmp_path / "keys", "ops", "admin")
    flags = ["--triton-key-file", str(triton.key_file), "--keys-file", str(tmp_path / "keys")]
    admin = {"authorization": f"Bearer {secret}"}
    with (
        run_gateway(triton.address, tmp_path / "log", *flags) as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0) as client,
        httpx2.Client(base_url=gateway.url, timeout=60, headers=admin) as http,
    ):
        answer = client.chat.completions.create(model="echo", messages=script(text="a b c"))
        assert answer.choices[0].message.content == "a b c"
        stream = client.chat.completions.create(
            model="echo", messages=script(text="a b", delay_ms=600_000), stream=True
        )
        next(stream)
        stream.close()
        assert http.request("DELETE", "/api/delete", json={"model": "echo"}).status_code == 200
        pulled = http.post("/api/pull", json={"model": "echo", "stream": False})
        assert pulled.json() == {"status": "success"}
        answer = client.chat.completions.create(model="echo", messages=script(text="a b c"))
        assert answer.choices[0].message.content == "a b c"


def test_a_gateway_without_the_key_says_who_loads(triton: Open, tmp_path: Path) -> None:
    secret = add_key(tmp_path / "keys", "ops", "admin")
    admin = {"authorization": f"Bearer {secret}"}
    flags = ["--keys-file", str(tmp_path / "keys")]
    with (
        run_gateway(triton.address, tmp_path / "log", *flags) as gateway,
        httpx2.Client(base_url=gateway.url, timeout=60, headers=admin) as http,
    ):
        pull = http.post("/api/pull", json={"model": "echo", "stream": False})
        delete = http.request("DELETE", "/api/delete", json={"model": "echo"})
        for refused in (pull, delete):
            assert refused.status_code == 501
            assert "the operator can" in refused.text


def test_commands_reach_it_by_name(triton: Open) -> None:
    runner = CliRunner()
    there = ["--triton", triton.address]
    listed = runner.invoke(app, ["models", "list", *there, "--json"])
    assert listed.exit_code == 0
    closed = runner.invoke(app, ["models", "load", "echo", *there])
    assert isinstance(closed.exception, ServeError)
    assert "@FILE" in (closed.exception.hint or "")
    key = ["--key", f"@{triton.key_file}"]
    assert runner.invoke(app, ["models", "load", "echo-embedding", *there, *key]).exit_code == 0
    version = runner.invoke(app, ["models", "load", "echo", "--version", "1", *there, *key])
    assert isinstance(version.exception, ServeError)
    assert "only by name" in version.exception.message
    local = ["--port", str(triton.service.port)]
    assert runner.invoke(app, ["models", "load", "echo", "--version", "1", *local]).exit_code == 0


def test_it_is_started_anew_when_it_dies(triton: Open) -> None:
    [relay] = [p for p in triton.service.named("toolkit.serve.relay") if not p.children()]
    relay.kill()
    wait_for(lambda: "the relay ended" in triton.service.log.read_text(), what="notice")

    def lives() -> bool:
        with triton.api() as api, contextlib.suppress(grpc.RpcError):
            return bool(api.ServerLive(service_pb2.ServerLiveRequest(), timeout=5).live)
        return False

    wait_for(lives, what="its return")


def test_every_call_of_triton_is_open_keyed_or_closed() -> None:
    calls = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    relay = Relay(None, Key("control", SECRET))  # type: ignore[arg-type]

    @dataclass
    class Call:
        method: str
        invocation_metadata: tuple[Any, ...] = ()

    def is_open(name: str) -> bool:
        handler: Any = relay.service(Call(f"/inference.GRPCInferenceService/{name}"))  # type: ignore[arg-type]
        return handler.response_streaming or "_refuse" not in repr(handler.unary_unary)

    assert {name for name in calls if is_open(name)} == {
        *("ServerLive", "ServerReady", "ServerMetadata", "RepositoryIndex", "ModelStreamInfer"),
        *("ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics", "ModelInfer"),
    }


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--host", "0.0.0.0", "--triton-only"], "without a key"),  # noqa: S104
        (["--triton-only", "--", "--keys-file", "keys"], "gateway settings have no effect"),
        (["--frontend-only"], "must be used together"),
        (["--triton-only", "--frontend-only", "--triton", "a:1"], "cannot be combined"),
    ],
)
def test_options_that_contradict_each_other_are_refused(arguments: list[str], reason: str) -> None:
    result = CliRunner().invoke(app, ["serve", *arguments])
    assert isinstance(result.exception, UsageError)
    assert reason in result.exception.message


def test_a_key_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"control={SECRET}")
    file.chmod(0o644)
    with pytest.raises(ServeError, match="all users of this machine can read") as refused:
        Key.read(file)
    assert refused.value.hint == f"chmod 600 {file}"
    file.chmod(0o600)
    assert Key.read(file) == Key("control", SECRET)
    file.write_text("control=short")
    with pytest.raises(ServeError, match="shorter than 16"):
        Key.read(file)
