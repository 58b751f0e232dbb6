"""One embedded Triton server on one repository: start, load, check, end.

It listens on a unix socket in a folder that only its owner can enter, so nobody on a shared
machine can bypass the gateway (docs/decisions/0003-unix-socket.md); the relay admits others. Each
model is loaded by its own call, so each failure has its own message. It does not know the gateway.
"""

import threading
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from toolkit.errors import ServeError
from toolkit.model_config import ModelConfig
from toolkit.progress import Progress, silent
from toolkit.runtime.triton import TritonRuntime
from toolkit.serve import stubs
from toolkit.serve.child import Child
from toolkit.serve.folder import PrivateFolder
from toolkit.serve.loading import LoadFailed, Logs, Stalled, TritonDied, load_all
from toolkit.serve.triton_command import TritonOptions, triton_command

_END_S = 10  # a crash writes its trace first
_START_TIMEOUT_S = 30.0
_CALL_TIMEOUT_S = 5.0
_MAX_MESSAGE_BYTES = 2**31 - 1


@dataclass(slots=True)
class TritonServer:
    """The server process, and a blocking gRPC stub for its control calls."""

    runtime: TritonRuntime
    options: TritonOptions
    _folder: PrivateFolder = field(default_factory=PrivateFolder.claim, init=False)
    _child: Child | None = field(default=None, init=False)
    _channel: grpc.Channel | None = field(default=None, init=False)
    _configs: dict[str, ModelConfig] = field(default_factory=dict, init=False)
    _alone: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        # `empty` is the working directory: the stub has it first in sys.path
        for name in ("empty", "tmp"):
            (self.folder / name).mkdir()

    @property
    def folder(self) -> Path:
        """Only its owner can enter it: the socket, and temporary files of its processes."""
        return self._folder.path

    @property
    def address(self) -> str:
        """What a gRPC client here connects to."""
        return f"unix:{self.folder}/grpc.sock:1"  # Triton appends `:PORT` to the file's name

    @property
    def api(self) -> service_pb2_grpc.GRPCInferenceServiceStub:
        """The server's gRPC calls, blocking; give each a timeout."""
        if self._channel is None:
            sizes = [
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
            ]
            self._channel = grpc.insecure_channel(self.address, options=sizes)
        return service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def start(self) -> None:
        """Starts the server without models and waits until it answers. Raises ServeError if it ends
        or does not answer in time."""
        # a killed server leaves it, and the next one could not bind
        (self.folder / "grpc.sock:1").unlink(missing_ok=True)
        command = triton_command(self.runtime, self.options, self.folder, self._folder.shm_prefix)
        self._child = Child(command)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self.is_live():
            if self._child.exit_code is not None or time.monotonic() > deadline:
                tail = self._child.log_tail()
                self.kill()
                raise ServeError(f"Triton did not start; the end of {self.options.log}:\n{tail}")
            time.sleep(0.05)

    def is_live(self, timeout_s: float = 1.0) -> bool:
        """Whether the server answers in that time."""
        try:
            request = service_pb2.ServerLiveRequest()
            return bool(self.api.ServerLive(request, timeout=timeout_s).live)
        except grpc.RpcError:
            return False

    def load(self, models: list[str], progress: Progress = silent, *, strict: bool = False) -> None:
        """Loads `models` (ensembles bring their steps), several at a time.

        Raises LoadFailed with Triton's own reason for each that fails, with `strict` as soon as one
        does, and TritonDied if the server ends, or hangs without computing, during the loads. An
        interruption does not wait for them.
        """
        # an engine measures what is free on its GPU while it starts, so no other may start then
        load = self._load if self.options.placement is None else self._load_alone
        logs = Logs(self.options.log, self.options.model_logs)
        try:
            failures = load_all(
                load, models, progress, self._work_s, strict=strict, stall_s=self.options.stall_s
            )
        except Stalled as stalled:
            raise self._died(f"hung during loading ({stalled})") from stalled
        if failures and self._is_ending():
            raise self._died(f"ended with code {self.exit_code} during loading")
        if failures:
            log = self.options.model_logs or self.options.log
            raise LoadFailed(failures, log, {name: logs.of(name) for name in failures})

    def _died(self, how: str) -> TritonDied:
        assert self._child is not None
        return TritonDied(f"Triton {how}; the end of its log:\n{self._child.log_tail(40)}")

    def _work_s(self, loaded: Collection[str]) -> float:
        """Seconds that the server and all steps but those of the loaded models have computed; each
        MiB that steps read or write is one more: a model may come over a slow network."""
        pid = self.pid or 0
        steps = [
            stub
            for stub, step in stubs.live_stubs(pid).items()
            if not {step, step.rpartition(".")[0]} & set(loaded)
        ]
        return stubs.own_cpu_s(pid) + stubs.cpu_s(steps) + stubs.moved_mib(steps)

    def _is_ending(self) -> bool:
        """Whether the server ended; its socket closes a little before its process ends."""
        deadline = time.monotonic() + _END_S
        while not self.is_live():
            if self.exit_code is not None:
                return True
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return False

    def _load_alone(self, model: str) -> str | None:
        with self._alone:
            return self._load(model)

    def _load(self, model: str) -> str | None:
        request = service_pb2.RepositoryModelLoadRequest(model_name=model)
        try:
            self.api.RepositoryModelLoad(request, timeout=self.options.load_timeout_s)
        except grpc.RpcError as error:
            return str(error.details())
        return None

    @property
    def pid(self) -> int | None:
        """The process above the server; None before it was started."""
        return self._child.pid if self._child else None

    @property
    def exit_code(self) -> int | None:
        """None while the server runs."""
        return self._child.exit_code if self._child else 0

    def serving(self) -> dict[str, ModelConfig]:
        """The configs of all models that are loaded now. Raises grpc.RpcError if Triton does not
        answer."""
        ready = self.ready_versions()
        # one config a second, not all of them: a reload does not show in the index
        known = iter(self._configs.items())
        turn = next(known, ("", None))[0]
        kept = {name: config for name, config in known if name in ready}
        fresh = {name: self.config(name) for name in ready if name == turn or name not in kept}
        self._configs = kept | fresh
        return self._configs

    def ready_versions(self) -> dict[str, int]:
        """How many versions of each model answer now. Raises grpc.RpcError if Triton does not
        answer."""
        request = service_pb2.RepositoryIndexRequest(ready=True)
        index = self.api.RepositoryIndex(request, timeout=_CALL_TIMEOUT_S)
        return Counter(model.name for model in index.models if model.state == "READY")

    def config(self, model: str) -> ModelConfig:
        """A loaded model's config. Raises grpc.RpcError if it is not loaded or Triton does not
        answer."""
        request = service_pb2.ModelConfigRequest(name=model)
        return self.api.ModelConfig(request, timeout=_CALL_TIMEOUT_S).config

    def begin_stop(self) -> None:
        """Starts the graceful end and returns immediately."""
        if self._child:
            self._child.begin_stop()

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended, within that time."""
        return self._child is None or self._child.wait(timeout_s)

    def end(self, grace_s: float | None = None) -> None:
        """Finishes running requests, unloads, ends, and removes its folder.

        By force after `grace_s`, by default after Triton's own exit timeout.
        """
        if self._child:
            self._child.end(grace_s)
        self._forget()

    def kill(self) -> None:
        """Kills the server; `start` may follow."""
        if self._child:
            self._child.kill()
        self._close_channel()

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _forget(self) -> None:
        self._close_channel()
        self._folder.remove()
