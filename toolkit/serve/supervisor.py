"""`toolkit serve`: Triton and the gateway as one service that starts, heals and ends as a whole.

Whatever ends the supervisor, SIGKILL included, ends both (guard.py). A Triton that died or hangs is
started again at the same address; the gateway answers 503 meanwhile and recovers by itself.
"""

import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import grpc

from toolkit.errors import ServeError
from toolkit.home import home
from toolkit.progress import Progress, silent
from toolkit.runtime.environments import link_environments
from toolkit.runtime.triton import ensure_triton
from toolkit.serve.canary import sick_model
from toolkit.serve.catalogue import ServedModel, check_target, public_models
from toolkit.serve.child import Child, Command, clean_environment
from toolkit.serve.linkable import linkable
from toolkit.serve.record import Record, recorded
from toolkit.serve.triton import TritonDied, TritonOptions, TritonServer, reachable

_LOOK_INTERVAL_S = 1.0
_CANARY_INTERVAL_S = 20.0
_GATEWAY_START_S = 30.0
_MAX_RESTARTS, _RESTART_WINDOW_S = 5, 600.0


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What to serve and where. `drain_s` is how long running requests may take at the end.

    With `triton_port` Triton listens there, for gateways elsewhere, and no gateway is started.
    """

    repository: Path
    host: str = "127.0.0.1"
    port: int = 9000
    triton_http_port: int | None = None
    triton_port: int | None = None
    ollama_port: int | None = None
    drain_s: float = 20.0
    keys_file: Path | None = None
    open: bool = False
    allowed_hosts: str | None = None
    allowed_origins: str | None = None

    @property
    def listening(self) -> tuple[str, int]:
        """The address that clients are given."""
        return self.host, self.port if self.triton_port is None else self.triton_port

    def gateway(self, triton: str) -> list[str]:
        """The command of a gateway in front of the Triton at this gRPC address."""
        argv = [sys.executable, "-P", "-m", "frontend", "--host", self.host]
        argv += ["--port", str(self.port), "--triton", triton]
        if self.ollama_port is not None:
            argv += ["--ollama-port", str(self.ollama_port)]
        if self.keys_file is not None:
            argv += ["--keys-file", str(self.keys_file.absolute())]
        if self.allowed_hosts is not None:
            argv += ["--allowed-hosts", self.allowed_hosts]
        if self.allowed_origins is not None:
            argv += ["--allowed-origins", self.allowed_origins]
        return [*argv, "--open"] if self.open else argv

    @property
    def logs(self) -> Path:
        """The folder of both children's logs; each start begins them anew."""
        return home() / "logs" / str(self.listening[1])


@dataclass(slots=True)
class Supervisor:
    """Both children, and the loop that watches them."""

    options: ServeOptions
    progress: Progress = silent
    tell: Callable[[str], None] = print
    models: list[ServedModel] = field(default_factory=list, init=False)
    """What is to answer: all of the repository at first, then what `toolkit models` made of it."""
    _triton: TritonServer | None = field(default=None, init=False)
    _gateway: Child | None = field(default=None, init=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False)
    _restarts: list[float] = field(default_factory=list, init=False)
    _stack: ExitStack = field(default_factory=ExitStack, init=False)

    def run(self, ready: Callable[[], None]) -> None:
        """Serves until a signal says stop. Calls `ready` once everything answers.

        Raises ServeError when something cannot be started or will not stay up.
        """
        self._listen_for_signals()
        try:
            self._start()
            if not self._stop.is_set():
                ready()
            self._watch()
        except KeyboardInterrupt:
            self._stop.set()
        finally:
            self._end()

    def _listen_for_signals(self) -> None:
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

        def stop(number: int, _frame: FrameType | None) -> None:
            if self._stop.is_set():
                for each in signals:  # a third one would interrupt the end itself
                    signal.signal(each, signal.SIG_IGN)
                try:
                    self._kill()
                finally:
                    os._exit(128 + number)
            self._stop.set()
            raise KeyboardInterrupt

        for each in signals:
            signal.signal(each, stop)

    def _start(self) -> None:
        options = self.options
        check_target(options.repository, "embedded")
        self.models = public_models(options.repository)
        _check_free(*options.listening)
        if options.ollama_port is not None:
            _check_free(options.host, options.ollama_port)
        runtime = ensure_triton(self.progress)
        repository = self._stack.enter_context(linkable(options.repository.absolute()))
        link_environments(repository, self.progress)
        logs = options.logs
        for log in logs.glob("*.log"):
            log.unlink()
        self._triton = TritonServer(
            runtime,
            TritonOptions(
                repository,
                logs / "triton.log",
                options.triton_http_port,
                None if options.triton_port is None else options.listening,
            ),
        )
        with self.progress.step("start Triton"):
            self._triton.start()
        self._load()
        record = Record.here(options.listening[1], self._triton.address, repository)
        self._stack.enter_context(recorded(record))
        if options.triton_port is None:
            with self.progress.step("start the gateway"):
                self._start_gateway(logs / "gateway.log")

    def _start_gateway(self, log: Path) -> None:
        assert self._triton is not None
        options = self.options
        settings = {name: value for name, value in os.environ.items() if name.startswith("TRITON_")}
        command = Command(
            argv=options.gateway(self._triton.address),
            log=log,
            environment=clean_environment(**settings),
            folder=Path("/"),
            grace_s=options.drain_s + 5,
        )
        self._gateway = Child(command)
        deadline = time.monotonic() + _GATEWAY_START_S
        while not self._gateway_ready():
            if self._gateway.exit_code is not None or time.monotonic() > deadline:
                raise ServeError(f"the gateway did not start:\n{self._gateway.log_tail()}")
            time.sleep(0.1)

    def _gateway_ready(self) -> bool:
        url = f"http://{reachable(self.options.host)}:{self.options.port}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _watch(self) -> None:
        assert self._triton is not None
        next_canary = time.monotonic() + _CANARY_INTERVAL_S
        while not self._stop.wait(_LOOK_INTERVAL_S):
            if self._gateway is not None and self._gateway.exit_code is not None:
                self._count_restart("the gateway ended")
                self._start_gateway(self._gateway.command.log)
            reason = self._triton_trouble()
            if not reason:
                self._follow_models()
            if not reason and time.monotonic() >= next_canary:
                reason = self._sick_model()
                next_canary = time.monotonic() + _CANARY_INTERVAL_S
            if reason:
                self._count_restart(reason)
                self._restart_triton()

    def _follow_models(self) -> None:
        """Takes over what was loaded and unloaded meanwhile: a restart brings back just that."""
        assert self._triton is not None
        try:
            serving = self._triton.serving()
        except grpc.RpcError:
            return  # the canary's business
        before, after = (
            {model.name for model in models if model.kind} for models in (self.models, serving)
        )
        for name in sorted(before ^ after):  # steps that wait for their ensemble have no kind
            self.tell(f"{name} was {'loaded' if name in after else 'unloaded'}")
        self.models = serving

    def _sick_model(self) -> str | None:
        """The model that does not answer, twice: a busy machine may hold one up."""
        assert self._triton is not None
        if not sick_model(self.models, self._triton.api):
            return None
        self._follow_models()  # it may have been unloaded just then
        return sick_model(self.models, self._triton.api)

    def _triton_trouble(self) -> str | None:
        assert self._triton is not None
        if self._triton.exit_code is not None:
            return f"Triton ended with code {self._triton.exit_code}"
        if self._triton.dead_stub():
            return "a model's Python process died"
        return None

    def _count_restart(self, reason: str) -> None:
        now = time.monotonic()
        self._restarts = [at for at in self._restarts if now - at < _RESTART_WINDOW_S] + [now]
        if len(self._restarts) > _MAX_RESTARTS:
            raise ServeError(
                f"{reason}; that was restart {len(self._restarts)} in {_RESTART_WINDOW_S:.0f} s",
                hint=f"read the logs in {self.options.logs}",
            )
        self.tell(f"{reason}; restarting")

    def _restart_triton(self) -> None:
        assert self._triton is not None
        self._triton.kill()
        self._triton.start()
        self._load()
        self.tell("Triton is back")

    def _load(self) -> None:
        """Loads what is to answer; this release of Triton now and then aborts in the middle."""
        assert self._triton is not None
        names = [model.name for model in self.models]
        try:
            self._triton.load(names, self.progress)
        except TritonDied as death:
            self.tell(f"{death}\nloading once more")
            self._triton.kill()
            self._triton.start()
            self._triton.load(names, self.progress)

    def _end(self) -> None:
        self._stop.set()
        try:
            if self._gateway:
                self._gateway.end()  # first: it drains while Triton still answers
            if self._triton:
                self._triton.end()
        except BaseException:
            self._kill()
            raise
        finally:
            self._stack.close()

    def _kill(self) -> None:
        if self._gateway:
            self._gateway.kill()
        if self._triton:
            self._triton.kill()
            self._triton.end()


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServeError(
                f"cannot listen on {host}:{port}: {error.strerror}", hint="choose another --port"
            ) from error
