"""The real embedded server under `TritonServer`: private, explicit, honest about failures."""

import json
import shutil
import socket
import stat
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from tritonclient.grpc import service_pb2

from tests.support.processes import free_port, shared_memory, status_of, wait_for
from tests.support.repository import write_echo_embedding
from toolkit.errors import RepositoryError, ServeError
from toolkit.runtime.environments import link_environments
from toolkit.runtime.triton import ensure_triton
from toolkit.serve.loading import LoadFailed, TritonDied
from toolkit.serve.models import check_target, public_models
from toolkit.serve.triton import TritonServer
from toolkit.serve.triton_command import TritonOptions


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TritonServer]:
    repository = tmp_path / "repository"
    repository.mkdir()
    write_echo_embedding(repository)
    (repository / "broken").mkdir()
    (repository / "broken" / "config.pbtxt").write_text('name: "broken"\nbackend: "nonesuch"\n')
    (repository / "broken" / "1").mkdir()
    link_environments(repository)
    triton = TritonServer(ensure_triton(), TritonOptions(repository, tmp_path / "log"))
    triton.start()
    yield triton
    triton.end()
    assert not triton.folder.exists()


def test_only_the_owner_reaches_the_socket(server: TritonServer) -> None:
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    ours = psutil.Process(server._child.pid).children(recursive=True)  # type: ignore[union-attr]
    assert not [c for p in ours for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN]


def test_other_users_read_no_prompts_in_shared_memory(server: TritonServer) -> None:
    server.load(["echo-embedding"])
    assert server._child is not None
    shared = shared_memory(psutil.Process(server._child.pid).children(recursive=True))
    assert shared
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in shared} == {0}


def test_a_model_that_was_loaded_again_shows_its_new_config(server: TritonServer) -> None:
    server.load(["echo-embedding"])
    before = server.serving()["echo-embedding"]
    file = server.options.repository / "echo-embedding" / "config.pbtxt"
    file.write_text(file.read_text() + 'parameters { key: "again" value { string_value: "1" } }\n')
    server.load(["echo-embedding"])
    for _ in server.serving():  # one config at each check
        after = server.serving()["echo-embedding"]
    assert "again" not in before.parameters
    assert after.parameters["again"].string_value == "1"


def test_a_model_that_does_not_load_is_named_with_tritons_reason(server: TritonServer) -> None:
    with pytest.raises(ServeError, match=r"broken: .*nonesuch"):
        server.load(["broken", "echo-embedding"])
    ready = service_pb2.ModelReadyRequest(name="echo-embedding")
    assert server.api.ModelReady(ready, timeout=5).ready


def failure_of(code: str, folder: Path) -> ServeError:
    """Why a model with this code does not load, if 3 s without work end its load."""
    repository = folder / "repository"
    repository.mkdir()
    write_echo_embedding(repository)
    step = repository / "echo-embedding.encoder" / "1" / "model.py"
    step.unlink()  # it may be a link to the source
    step.write_text(code)
    link_environments(repository)
    triton = TritonServer(ensure_triton(), TritonOptions(repository, folder / "log", stall_s=3))
    triton.start()
    try:
        with pytest.raises(ServeError) as caught:
            triton.load(["echo-embedding"])
    finally:
        triton.kill()
        triton.end()
    return caught.value


def test_a_load_in_which_nothing_works_ends(tmp_path: Path) -> None:
    """A model that only waits stands for a process that hangs while it starts."""
    failure = failure_of("import time\n\ntime.sleep(600)\n", tmp_path)
    assert isinstance(failure, TritonDied)
    assert "(echo-embedding: it did not answer or compute for 3 s)" in failure.message


def test_a_load_that_only_reads_is_awaited(tmp_path: Path) -> None:
    """Such as one from a slow network."""
    code = """
import time

for _ in range(24):
    with open("/dev/zero", "rb", 0) as file:
        file.read(1 << 19)
    time.sleep(0.5)
raise ValueError("all was read")
"""
    failure = failure_of(code, tmp_path)
    assert isinstance(failure, LoadFailed)
    assert "all was read" in failure.message


def test_a_killed_server_starts_again_at_the_same_address(server: TritonServer) -> None:
    address = server.address
    server.kill()
    with pytest.raises(grpc.RpcError):
        server.api.ServerLive(service_pb2.ServerLiveRequest(), timeout=1)
    server.start()
    assert server.address == address
    assert server.api.ServerLive(service_pb2.ServerLiveRequest(), timeout=1).live


def test_a_server_that_cannot_start_tells_why(tmp_path: Path) -> None:
    triton = TritonServer(ensure_triton(), TritonOptions(tmp_path / "absent", tmp_path / "log"))
    with pytest.raises(ServeError, match=r"absent"):
        triton.start()
    triton.end()


def test_an_empty_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError) as refusal:
        public_models(tmp_path)
    assert "build-repo" in (refusal.value.hint or "")


def test_a_repository_for_another_target_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "repository.json").write_text('{"target": "container:26.08"}')
    with pytest.raises(RepositoryError, match=r"container:26\.08") as refusal:
        check_target(tmp_path, "embedded")
    assert "--target embedded" in (refusal.value.hint or "")


def test_a_config_that_does_not_parse_is_named(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "m", ignore_errors=True)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.pbtxt").write_text("name: \n")
    with pytest.raises(RepositoryError, match=r"m/config\.pbtxt"):
        public_models(tmp_path)


def test_no_header_opens_what_http_closes(echo_repository: Path, tmp_path: Path) -> None:
    port = free_port()
    options = TritonOptions(echo_repository, tmp_path / "log", http_port=port)
    triton = TritonServer(ensure_triton(), options)
    triton.start()
    try:
        # its gRPC, which `start` waits for, may answer before its HTTP
        wait_for(lambda: status_of(f"http://127.0.0.1:{port}/v2/health/live") == 200)
        assert triton.pid is not None
        [server] = psutil.Process(triton.pid).children()
        [closed] = [word for word in server.cmdline() if "--http-restricted-api" in word]
        name, _, key = closed.rpartition(":")[2].partition("=")  # as every user can read it
        code = "import pathlib; pathlib.Path('ran').touch()"
        attack = json.dumps(
            {"parameters": {"config": "{}", "file:1/model.py": b64encode(code.encode()).decode()}}
        ).encode()
        folded = key.replace("\n", "\r\n ")
        for value in (key, folded, key.replace("\n", ""), key.split("\n", maxsplit=1)[0], ""):
            for path in ("repository/models/evil/load", "repository/index", "logging"):
                status = http_post(port, f"/v2/{path}", f"{name}: {value}\r\n", attack)
                assert b" 200 " not in status, (path, value)
        assert b" 200 " in http_get(port, "/v2/health/live")
    finally:
        triton.end()


def http_post(port: int, path: str, headers: str, body: bytes) -> bytes:
    """The first line of the answer, "" where the connection was closed without one."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {len(body)}\r\n\r\n"
    return exchange(port, head.encode() + body)


def http_get(port: int, path: str) -> bytes:
    return exchange(port, f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())


def exchange(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        try:
            return connection.recv(4096).partition(b"\r\n")[0]
        except ConnectionResetError:
            return b""
