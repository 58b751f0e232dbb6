"""The real embedded Triton server over one repository, for the length of a `with` block.

It gets free ports of its own, an empty working directory and the toolkit's environments; when the
block ends nothing of it is left.
"""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.support.processes import PATIENCE_S
from toolkit.runtime.environments import link_environments
from toolkit.runtime.triton import ensure_triton
from toolkit.serve.child import Child, Command, clean_environment
from toolkit.serve.models import public_models
from toolkit.serve.triton import TritonServer
from toolkit.serve.triton_command import TritonOptions


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers."""

    grpc_port: int
    http_port: int
    child: Child
    log: Path

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"


def free_ports(count: int) -> list[int]:
    """Distinct ports that are free at this moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def serve(
    repository: Path, models: Sequence[str], scratch: Path, ready_s: float = 240
) -> Iterator[Server]:
    """Starts Triton with these models loaded and waits until it is ready; ends it after."""
    runtime = ensure_triton()
    link_environments(repository)
    grpc_port, http_port = free_ports(2)
    empty = scratch / "empty"
    empty.mkdir(parents=True, exist_ok=True)
    prefix = f"test-{os.getpid()}-{grpc_port}-"
    argv = [
        str(runtime.server),
        f"--model-repository={repository}",
        f"--backend-directory={runtime.backends}",
        f"--cache-directory={runtime.caches}",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={grpc_port}",
        "--http-address=127.0.0.1",
        f"--http-port={http_port}",
        "--allow-metrics=false",
        "--model-control-mode=explicit",
        f"--exit-timeout-secs={PATIENCE_S}",
        *(f"--load-model={model}" for model in models),
    ]
    environment = clean_environment(
        TRITON_TOOLKIT_TARGET="embedded",
        LD_LIBRARY_PATH=str(runtime.libraries),
        HF_HUB_OFFLINE="1",
        PYTHONDONTWRITEBYTECODE="1",
    )
    log = scratch / "triton.log"
    child = Child(Command(argv, log, environment, empty, grace_s=150, shm_prefix=prefix))
    try:
        _wait_ready(grpc_port, child, ready_s)
        yield Server(grpc_port, http_port, child, log)
        if child.exit_code is None:
            assert child.end() == 0, child.log_tail()
    finally:
        child.kill()


def _wait_ready(port: int, child: Child, ready_s: float) -> None:
    deadline = time.monotonic() + ready_s
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while time.monotonic() < deadline:
            if child.exit_code is not None:
                raise AssertionError(f"Triton ended:\n{child.log_tail(60)}")
            try:
                if stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=1).ready:
                    return
            except grpc.RpcError:
                time.sleep(0.05)
    raise AssertionError(f"Triton is not ready after {ready_s} s:\n{child.log_tail(60)}")


@contextmanager
def serving(
    repository: Path, log: Path, models: Sequence[str] | None = None
) -> Iterator[TritonServer]:
    """The toolkit's own server over `repository`, with these models loaded, or all public ones.

    Its environments are linked first.
    """
    link_environments(repository)
    if models is None:
        models = [model.name for model in public_models(repository)]
    server = TritonServer(ensure_triton(), TritonOptions(repository, log))
    server.start()
    try:
        server.load(models)
        yield server
    finally:
        server.end()


def load_code(server: TritonServer, name: str) -> grpc.StatusCode | None:
    """Loads one model; the error's code, None when it loads."""
    request = service_pb2.RepositoryModelLoadRequest(model_name=name)
    try:
        server.api.RepositoryModelLoad(request, timeout=60)
    except grpc.RpcError as error:
        return error.code()
    return None
