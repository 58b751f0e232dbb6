"""What can be said about docker/ without building anything."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import packages_distributions
from pathlib import Path

import grpc
import pytest
from ruamel.yaml import YAML
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.support.processes import ROOT, free_port, status_of, wait_for
from toolkit.runtime.triton import ensure_triton
from toolkit.serve.child import Child, Command

DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
COMPOSE = YAML(typ="safe").load(ROOT / "docker" / "compose.yaml")


def test_images_are_run_by_nobody_from_pinned_parts() -> None:
    assert [path.name.split(".")[0] for path in DOCKERFILES] == ["cpu", "frontend", "triton"]
    for path in DOCKERFILES:
        lines = path.read_text().splitlines()
        assert "USER 10001:10001" in lines, path
        assert any(line.startswith("HEALTHCHECK") for line in lines), path
        assert any(line.startswith("ARG BASE=") and ":latest" not in line for line in lines), path
        assert "--require-hashes" in path.read_text(), path


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_compose_starts_one_triton_and_the_gateway(profile: str) -> None:
    services = {
        name: service
        for name, service in COMPOSE["services"].items()
        if profile in service["profiles"]
    }
    assert set(services) == {f"triton-{profile}", "frontend"}
    for service in services.values():
        assert (ROOT / service["build"]["dockerfile"]).exists()
        assert service["read_only"] is True
    triton = services[f"triton-{profile}"]
    assert "ports" not in triton, "nobody gets past the gateway"
    assert set(triton["networks"]) == {"inside"}
    if command := triton.get("command"):
        assert {"--triton-only", "--open"} <= set(command), "it refuses to start otherwise"
    assert services["frontend"]["ports"] == ["127.0.0.1:9000:9000"]


def test_the_gateways_pins_are_the_projects() -> None:
    def pins(path: Path) -> dict[str, str]:
        lines = [line.split(" ")[0] for line in path.read_text().splitlines() if "==" in line]
        return dict(line.split("==", 1) for line in lines)

    everything = pins(ROOT / "requirements" / "dev.lock")
    for lock in ("frontend.lock", "frontend-extras.lock"):
        gateway = pins(ROOT / "docker" / lock)
        assert gateway
        assert {name: everything[name] for name in gateway} == gateway


def test_the_entry_point_refuses_what_was_built_for_another_server(tmp_path: Path) -> None:
    (tmp_path / "repository.json").write_text('{"target": "embedded"}')
    environment = {
        "PATH": "/usr/bin:/bin",
        "TRITON_TOOLKIT_TARGET": "container:26.08-vllm",
        "TRITON_TOOLKIT_REPOSITORY": str(tmp_path),
    }
    entry = str(ROOT / "docker" / "entrypoint.sh")
    refused = _run(entry, environment)
    assert refused.returncode == 2
    assert "built for the target 'embedded'" in refused.stderr
    assert "toolkit build-repo --target container:26.08-vllm" in refused.stderr
    (tmp_path / "repository.json").unlink()
    refused = _run(entry, environment)
    assert refused.returncode == 2
    assert "contains no models" in refused.stderr


@pytest.fixture(scope="module")
def keyless(
    echo_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[grpc.Channel]:
    """The entry point around the real server, as it is started by default."""
    with _entry_point(echo_repository, tmp_path_factory.mktemp("keyless")) as channel:
        yield channel


def test_the_entry_point_lets_nobody_load_or_look_into_memory(
    keyless: grpc.Channel, tmp_path: Path
) -> None:
    api = service_pb2_grpc.GRPCInferenceServiceStub(keyless)
    assert api.ModelReady(service_pb2.ModelReadyRequest(name="echo"), timeout=10).ready
    assert api.RepositoryIndex(service_pb2.RepositoryIndexRequest(), timeout=10).models
    ran = tmp_path / "ran"
    load = service_pb2.RepositoryModelLoadRequest(model_name="evil")
    load.parameters["config"].string_param = '{"backend": "python", "max_batch_size": 0}'
    load.parameters["file:1/model.py"].bytes_param = f"open({str(ran)!r}, 'w')".encode()
    unload = service_pb2.RepositoryModelUnloadRequest(model_name="echo")
    memory = service_pb2.SystemSharedMemoryStatusRequest()
    for call, request in (
        (api.RepositoryModelLoad, load),
        (api.RepositoryModelUnload, unload),
        (api.SystemSharedMemoryStatus, memory),
        (api.LogSettings, service_pb2.LogSettingsRequest()),
        (api.TraceSetting, service_pb2.TraceSettingRequest()),
    ):
        with pytest.raises(grpc.RpcError, match=r"restricted|not allowed"):
            call(request, timeout=10)
    assert not ran.exists()


def test_the_entry_points_key_opens_loading(echo_repository: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("control=0123456789abcdef\n")
    load = service_pb2.RepositoryModelLoadRequest(model_name="echo-embedding")
    with _entry_point(
        echo_repository, tmp_path, TRITON_TOOLKIT_CONTROL_KEY_FILE=str(key)
    ) as channel:
        api = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        shown = [("triton-grpc-protocol-control", "0123456789abcdef")]
        for metadata in ([], [("triton-grpc-protocol-control", "0123456789abcdeX")]):
            with pytest.raises(grpc.RpcError, match="restricted"):
                api.RepositoryModelLoad(load, timeout=30, metadata=metadata)
        api.RepositoryModelLoad(load, timeout=60, metadata=shown)


def test_a_key_that_is_none_is_refused(echo_repository: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    for text in ("", "secret", "control=", "control=short", "a=0123456789abcdef:b"):
        key.write_text(text)
        refused = _run(
            str(ROOT / "docker" / "entrypoint.sh"),
            {
                "PATH": "/usr/bin:/bin",
                "TRITON_TOOLKIT_TARGET": "container:26.08-vllm",
                "TRITON_TOOLKIT_REPOSITORY": str(echo_repository),
                "TRITON_TOOLKIT_CONTROL_KEY_FILE": str(key),
            },
        )
        assert refused.returncode == 2, text
        assert "NAME=VALUE" in refused.stderr


@contextmanager
def _entry_point(echo: Path, folder: Path, **environment: str) -> Iterator[grpc.Channel]:
    """The entry point with the embedded server for a `tritonserver`, once it is ready."""
    runtime = ensure_triton()
    repository = folder / "models"
    shutil.copytree(echo, repository, ignore=shutil.ignore_patterns(".*"))
    for config in repository.glob("*/config.pbtxt"):  # a container's configs have no environment
        links = str(echo / ".environments")
        text = config.read_text().replace("$$TRITON_MODEL_DIRECTORY/../.environments", links)
        config.write_text(text)
    server = folder / "bin" / "tritonserver"
    server.parent.mkdir()
    server.write_text(
        f'#!/bin/sh\nexec {runtime.server} --backend-directory={runtime.backends} "$@"\n'
    )
    server.chmod(0o755)
    port, http_port = free_port(), free_port()
    flags = ["--grpc-address=127.0.0.1", f"--grpc-port={port}", "--allow-metrics=false"]
    command = Command(
        argv=[str(ROOT / "docker" / "entrypoint.sh"), *flags, f"--http-port={http_port}"],
        log=folder / "log" / "log",
        environment={
            "PATH": f"{server.parent}:/usr/bin:/bin",
            "LD_LIBRARY_PATH": str(runtime.libraries),
            "TRITON_TOOLKIT_TARGET": "container:26.08-vllm",
            "TRITON_TOOLKIT_REPOSITORY": str(repository),
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        },
        folder=folder,
    )
    child = Child(command)
    try:
        url = f"http://127.0.0.1:{http_port}/v2/health/ready"
        wait_for(lambda: status_of(url) == 200 or child.exit_code is not None, what="readiness")
        assert child.exit_code is None, child.log_tail(40)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        child.kill()


def test_the_gateways_image_has_all_that_the_gateway_imports() -> None:
    owners = packages_distributions()
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]  # type: ignore[union-attr]
        for path in (ROOT / "frontend").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    foreign = imported - set(sys.stdlib_module_names) - {"frontend"}
    locks = (ROOT / "docker" / name for name in ("frontend.lock", "frontend-extras.lock"))
    lock = "".join(path.read_text().lower() for path in locks)
    for name in foreign:
        assert any(f"{owner.lower().replace('_', '-')}==" in lock for owner in owners[name]), name


def _run(entry: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([entry], check=False, env=environment, capture_output=True, text=True)
