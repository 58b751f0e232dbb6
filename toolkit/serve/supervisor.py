"""`toolkit serve`: Triton and the gateway as one service that starts, heals and ends as a whole.

Whatever ends the supervisor, SIGKILL included, ends both (guard.py). Only the model that died or
hangs is restarted (healing.py). If Triton itself died or hangs, it is restarted as a whole at the
same address; the gateway answers 503 meanwhile and recovers by itself.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

import grpc

from toolkit.errors import ServeError
from toolkit.model_config import ModelConfig
from toolkit.progress import Progress, silent
from toolkit.runtime.environments import link_environments
from toolkit.runtime.triton import ensure_triton
from toolkit.serve import stubs
from toolkit.serve.control import Control
from toolkit.serve.folder import check_disk, make_private, sweep
from toolkit.serve.front import GATEWAY_SOCKET, Front, gateway, relay, wait_until_ready
from toolkit.serve.healing import Healer
from toolkit.serve.linkable import linkable
from toolkit.serve.loading import LoadFailed, TritonDied
from toolkit.serve.logs import MODELS
from toolkit.serve.models import ServedModel, check_code, check_target, public, public_models
from toolkit.serve.options import ServeOptions
from toolkit.serve.ports import check_free
from toolkit.serve.record import READY, STOPPING, Record, recorded
from toolkit.serve.restarts import MAX_RESTARTS, WINDOW_S, Restarts
from toolkit.serve.triton import TritonServer
from toolkit.serve.triton_command import TritonOptions
from toolkit.serve.watch import Watch, Work

_CHECK_INTERVAL_S = 1.0
_READY_S = 10.0
_LONGEST_PAUSE_S = 30.0
_ANSWER_S = 3600.0
_SOON_S = 0.5
_UNLOAD_S = 4.0
"""With the gateway's end at most 5 s in all. Default models need 2.5 to 3.5 s on 2 cores."""
_INTERRUPT_S, _INTERRUPT_DRAIN_S = 3.0, 1.0
"""After Ctrl-C: in all, and for running requests (as in frontend/http/server.py)."""
_ABANDON_S = 1.0
"""For the errors of requests that the drain did not wait for."""


@dataclass(slots=True)
class Supervisor:
    """Both children, and the loop that watches them."""

    options: ServeOptions
    progress: Progress = silent
    report: Callable[[str], None] = print
    models: list[ServedModel] = field(default_factory=list, init=False)
    """The models to serve: at first all of the repository that are not loaded on demand, then what
    was loaded meanwhile."""
    known: list[ServedModel] = field(default_factory=list, init=False)
    """All public models of the repository."""
    _triton: TritonServer | None = field(default=None, init=False)
    _front: Front | None = field(default=None, init=False)
    _healer: Healer | None = field(default=None, init=False)
    _liveness: Watch | None = field(default=None, init=False)
    _served: bool = field(default=False, init=False)
    _signal: int = field(default=0, init=False)
    _interrupted_at: float = field(default=0.0, init=False)
    _stop: threading.Event = field(default_factory=threading.Event, init=False)
    _restarts: Restarts = field(default_factory=Restarts, init=False)
    _front_restarts: Restarts = field(default_factory=Restarts, init=False)
    _stack: ExitStack = field(default_factory=ExitStack, init=False)
    _set_state: Callable[[str], None] = field(default=lambda _: None, init=False)

    def run(self, ready: Callable[[], None]) -> None:
        """Serves until a signal. Calls `ready` once everything answers.

        Raises ServeError if something cannot be started or keeps failing.
        """
        self._listen_for_signals()
        try:
            self._start()
            self._served = True
            self._set_state(READY)
            ready()
            self._watch()
        except KeyboardInterrupt:
            self._stop.set()
        # C code may turn an interruption into its own error, as numpy does while it is imported
        except Exception:
            if not self._signal:
                raise
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
                    # not sys.exit: its exception would run `_end`, which waits again
                    os._exit(128 + number)
            self._stop.set()
            self._signal, self._interrupted_at = number, time.monotonic()
            raise KeyboardInterrupt

        for each in signals:
            signal.signal(each, stop)

    def _start(self) -> None:
        options = self.options
        check_target(options.repository, "embedded")
        if note := check_code(options.repository):
            self.report(note)
        self.known = public_models(options.repository)
        self.models = [model for model in self.known if not self._waits(model)]
        # before anything is downloaded or loaded: a taken port is found in milliseconds
        check_free(options.ports)
        if warning := check_disk(options.logs):
            self.report(warning)
        # /dev/shm may be full of what a killed service left
        sweep()
        runtime = ensure_triton(self.progress)
        repository = self._stack.enter_context(linkable(options.repository.absolute()))
        link_environments(repository, self.progress, cuda=options.placement is not None)
        logs = options.logs
        # before Triton: its children open these files
        for log in (*logs.glob("*.log"), *logs.glob(f"{MODELS}/*.log")):
            log.unlink()
        make_private(logs / MODELS)
        self._triton = TritonServer(runtime, _triton_options(options, repository))
        record = Record.here(
            options.listening[1],
            self._triton.address,
            repository,
            url=options.url,
            health=self._triton.folder / GATEWAY_SOCKET,
            logs=logs,
        )
        self._set_state = self._stack.enter_context(recorded(record))
        with self.progress.step("start Triton"):
            self._triton.start()
        # before the gateway: clients are not accepted until there are models
        self._load()
        make = gateway if options.triton_port is None else relay
        self._front = make(options, self._triton)
        with self.progress.step(f"start {self._front.name}"):
            self._front.start()
            if options.triton_port is None:
                wait_until_ready(options.url, _READY_S)

    def _waits(self, model: ServedModel) -> bool:
        """Whether the gateway loads it later; the relay does not."""
        return model.is_on_demand and self.options.triton_port is None

    def _watch(self) -> None:
        assert self._front is not None
        assert self._healer is not None
        while not self._stop.wait(_CHECK_INTERVAL_S):
            if reason := self._front.trouble():
                self._restart_front(self._front, reason)
            if reason := self._triton_trouble():
                self._count_restart(reason)
                self._restart_triton()
            elif (configs := self._follow_models()) is not None:
                self._healer.check(configs)

    def _restart_front(self, front: Front, reason: str) -> None:
        """Never ends the service, however often it happens: clients could cause it."""
        earlier = self._front_restarts.add() - 1
        self.report(f"{reason}; restarting")
        front.kill()
        # 0, 1, 4, 9 … s: a gateway that dies at once must not be started all the time
        self._stop.wait(min(earlier**2, _LONGEST_PAUSE_S))
        try:
            front.start()
        except ServeError as error:
            self.report(error.message)

    def _follow_models(self) -> dict[str, ModelConfig] | None:
        """Records what was loaded and unloaded meanwhile: a restart loads the same models."""
        assert self._triton is not None
        try:
            configs = self._triton.serving()
        except grpc.RpcError:
            return None  # the liveness check reports it
        serving = public(list(configs.values()))
        before, after = (
            {model.name for model in models if model.kind} for models in (self.models, serving)
        )
        for name in sorted(before ^ after):  # steps that wait for their ensemble have no kind
            self.report(f"{name} was {'loaded' if name in after else 'unloaded'}")
        # after the report, which compares with what was there
        self.models = serving
        return configs

    def _triton_trouble(self) -> str | None:
        assert self._triton is not None
        assert self._liveness is not None
        if self._triton.exit_code is not None:
            return f"Triton ended with code {self._triton.exit_code}"
        if reason := self._liveness.check():
            return f"Triton does not respond: {reason}"
        return None

    def _count_restart(self, reason: str) -> None:
        count = self._restarts.add()
        if count > MAX_RESTARTS:
            raise ServeError(
                f"{reason}; that was restart {count} in {WINDOW_S:.0f} s",
                hint=f"read the logs in {self.options.logs}",
            )
        self.report(f"{reason}; restarting")

    def _restart_triton(self) -> None:
        assert self._triton is not None
        self._triton.kill()
        self._triton.start()
        self._load()
        self.report("Triton is running again")

    def _load(self) -> None:
        """Loads the models; this release of Triton sometimes aborts or hangs meanwhile."""
        assert self._triton is not None
        names = [model.name for model in self.models]
        try:
            self._load_most(names)
        except TritonDied as death:
            self.report(f"{death}\nloading again")
            self._triton.kill()
            self._triton.start()
            self._load_most(names)
        self._begin_watching(self._triton)

    def _load_most(self, names: list[str]) -> None:
        """Loads all that can be loaded and reports the others; raises LoadFailed if none can."""
        assert self._triton is not None
        try:
            self._triton.load(names, self.progress, strict=self.options.strict)
        except LoadFailed as failed:
            # a service without any model is of no use
            if self.options.strict or len(failed.reasons) == len(names):
                raise
            for model, reason in failed.reasons.items():
                self.report(f"{model} cannot be loaded and is not served: {reason}")
                # Triton keeps the steps that it could load; without their model they are of no use
                with suppress(ServeError):
                    Control(self._triton.api, self.options.repository).unload_steps(model)
            self.report("all other models are served; for details, run `toolkit logs MODEL`")
            self.models = [model for model in self.models if model.name not in failed.reasons]

    def _begin_watching(self, triton: TritonServer) -> None:
        self._healer = Healer(triton, self.report, self.options.timeouts)
        self._healer.begin()
        self._liveness = Watch(
            ask=partial(_ask, triton),
            work=lambda: Work(cpu_s=stubs.own_cpu_s(triton.pid or 0)),
            timeouts=self.options.timeouts,
        )

    def _end(self) -> None:
        self._stop.set()
        self._set_state(STOPPING)
        try:
            if self._front:
                self._end_front(self._front)  # first: it drains while Triton still answers
            if self._triton:
                self._end_triton(self._triton)
        except BaseException:
            self._kill()
            raise
        finally:
            # last: it removes the record, and folders that children still use
            self._stack.close()

    def _end_front(self, front: Front) -> None:
        front.begin_stop(interrupt=self._signal == signal.SIGINT)
        if not front.wait(_SOON_S):
            self.report(
                f"waiting up to {self._drain_s:g} s for running requests; Ctrl-C again kills them"
            )
            # then it tells what still runs that it ends
            front.wait(max(0.0, self._drain_s - _SOON_S) + _ABANDON_S)
        front.kill()

    def _end_triton(self, triton: TritonServer) -> None:
        if not self._served:
            triton.kill()  # it has no requests yet, and a load cannot be interrupted
        grace_s = self._unload_s
        triton.begin_stop()
        if not triton.wait(_SOON_S):
            self.report(
                f"waiting up to {grace_s:g} s for the models to end; Ctrl-C again kills them"
            )
        triton.end(max(0.0, grace_s - _SOON_S))

    @property
    def _drain_s(self) -> float:
        """Shorter after Ctrl-C than after SIGTERM."""
        drain_s = self.options.drain_s
        return min(drain_s, _INTERRUPT_DRAIN_S) if self._signal == signal.SIGINT else drain_s

    @property
    def _unload_s(self) -> float:
        """How long models may take to end cleanly; then the guard kills them."""
        if self._healer is not None and self._healer.lost_process:
            return _SOON_S  # Triton would wait for models whose process died
        if self._signal != signal.SIGINT:
            return _UNLOAD_S
        return max(_SOON_S, round(self._interrupted_at + _INTERRUPT_S - time.monotonic(), 1))

    def _kill(self) -> None:
        if self._front:
            self._front.kill()
        if self._triton:
            self._triton.kill()
            self._triton.end()


def _ask(triton: TritonServer) -> None:
    triton.is_live(_ANSWER_S)


def _triton_options(options: ServeOptions, repository: Path) -> TritonOptions:
    return TritonOptions(
        repository,
        options.logs / "triton.log",
        options.triton_http_port,
        placement=options.placement,
        model_logs=options.logs / MODELS,
        metrics_port=options.triton_metrics_port,
        traces_url=options.triton_traces_url,
    )
