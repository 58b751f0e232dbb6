"""Finds models of a running Triton that died or hang, and starts those alone anew.

Triton 2.51 never notices a dead Python process, but loading its model once more puts new processes
in its place while every other model goes on (docs/decisions/0010-one-dead-model.md).
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import grpc
from tritonclient.grpc import service_pb2

from toolkit.errors import ServeError
from toolkit.model_config import ModelConfig
from toolkit.serve import stubs
from toolkit.serve.connection import told
from toolkit.serve.models import as_json, public
from toolkit.serve.probe import Probe, probes
from toolkit.serve.reasons import plain
from toolkit.serve.triton import TritonServer
from toolkit.serve.watch import Patience, Watch, Work, in_background

GENERATION = "toolkit.generation"
"""Config parameter of a model that was started anew: the gateway ends the streams of the old."""
MAX_REVIVALS, REVIVAL_WINDOW_S = 5, 600.0
_CALL_TIMEOUT_S = 5.0
_ANSWER_S = 3600.0  # for as long as a probe may wait behind other work


@dataclass(slots=True)
class Healer:
    """Watches the models of one server. `look` never waits for any of them."""

    server: TritonServer
    tell: Callable[[str], None]
    patience: Patience = field(default_factory=Patience)
    now: Callable[[], float] = time.monotonic
    buried: bool = field(default=False, init=False)
    """Whether a model's process died since the server started: it cannot end in order then."""
    _watches: dict[str, Watch] = field(default_factory=dict, init=False)
    _revivals: dict[str, Future[None]] = field(default_factory=dict, init=False)
    _attempts: dict[str, list[float]] = field(default_factory=dict, init=False)
    _stubs: dict[int, str] = field(default_factory=dict, init=False)
    _lacking: set[str] = field(default_factory=set, init=False)

    def begin(self) -> None:
        """Takes the server's processes as they are now for what should be there."""
        self._stubs, self._lacking, self.buried = self._live(), set(), False
        self._watches.clear()
        self._revivals.clear()

    def look(self, configs: Mapping[str, ModelConfig]) -> None:
        """One look at all models; `configs` are those of all that are loaded."""
        self._end_revivals()
        for model in self.dead_models():
            self._start_anew(model, "a Python process of it died", hung=False)
        self._follow(configs)
        for model, watch in list(self._watches.items()):
            if model not in self._revivals and (reason := watch.look()):
                self._start_anew(model, reason, hung=True)

    def dead_models(self) -> list[str]:
        """The loaded models that lack a Python process.

        The processes of a model that was unloaded, or loaded anew, go because someone wants it. A
        model has to lack one twice in a row, as a look in the middle of that could mislead.
        """
        live = self._live()
        gone = {model for pid, model in self._stubs.items() if pid not in live}
        lacking = {model for model in gone if self._lacks(model)}
        dead = sorted(lacking & self._lacking)
        self._lacking = lacking
        self._stubs = live | {p: model for p, model in self._stubs.items() if model in lacking}
        return dead

    def _lacks(self, model: str) -> bool:
        """Whether a loaded model has fewer processes than its config asks for."""
        try:
            versions = self.server.ready_versions().get(model, 0)
            groups = self.server.config(model).instance_group if versions else []
        except grpc.RpcError:
            return True
        wanted: int = versions * sum(group.count * max(1, len(group.gpus)) for group in groups)
        return len(self._pids(model)) < wanted

    def _follow(self, configs: Mapping[str, ModelConfig]) -> None:
        """Watches what is loaded now, and nothing that is not."""
        known = {each.step: each for each in probes(public(list(configs.values())), configs)}
        for model in self._watches.keys() - known.keys():
            del self._watches[model]
        for model in known.keys() - self._watches.keys() - self._revivals.keys():
            self._watches[model] = self._watch(known[model])

    def _watch(self, probe: Probe) -> Watch:
        return Watch(
            ask=lambda: probe.ask(self.server.api, _ANSWER_S),
            work=partial(self._work, probe.step),
            patience=self.patience,
            now=self.now,
        )

    def _work(self, model: str) -> Work:
        """What the model's processes have done since they were started."""
        request = service_pb2.ModelStatisticsRequest(name=model)
        finished = 0
        with suppress(grpc.RpcError):
            known = self.server.api.ModelStatistics(request, timeout=_CALL_TIMEOUT_S).model_stats
            # failures are left out: Triton counts those of a dead process, too
            finished = sum(each.inference_stats.success.count for each in known)
        return Work(finished, stubs.cpu_s(self._pids(model)))

    def _start_anew(self, model: str, reason: str, *, hung: bool) -> None:
        if model in self._revivals:
            return
        self._watches.pop(model, None)
        self.buried = True
        now = self.now()
        recent = [at for at in self._attempts.get(model, ()) if now - at < REVIVAL_WINDOW_S]
        self._attempts[model] = [*recent, now]
        if len(recent) >= MAX_REVIVALS:
            self.tell(f"{model}: {reason}; it was started {len(recent)} times and is left out now")
            self._give_up(model)
            return
        self.tell(f"{model}: {reason}; starting it anew, all others go on")
        self._revivals[model] = in_background(partial(self._revive, model, hung))

    def _revive(self, model: str, hung: bool) -> None:
        """Puts new processes in the place of the model's; those that work finish what they have.

        Raises ServeError, grpc.RpcError.
        """
        config = self.server.config(model)  # as it is loaded: with the versions that were chosen
        config.parameters[GENERATION].string_value = f"{time.time():.3f}"
        if hung:
            stubs.kill(self._pids(model))
        request = service_pb2.RepositoryModelLoadRequest(model_name=model)
        request.parameters["config"].string_param = as_json(config)
        with told(f"{model} does not load again"):
            self.server.api.RepositoryModelLoad(request, timeout=self.server.options.load_timeout_s)

    def _end_revivals(self) -> None:
        """Takes note of how revivals ended; one that failed is tried again by the next look."""
        for model in [model for model, future in self._revivals.items() if future.done()]:
            error = self._revivals.pop(model).exception()
            if error is None:
                self._forget(model)
                self.tell(f"{model} is back")
            else:
                reason = error.message if isinstance(error, ServeError) else str(error)
                self.tell(f"{model}: {plain(reason)}")

    def _give_up(self, model: str) -> None:
        """Unloads it: who asks for it learns at once that it is not there."""
        stubs.kill(self._pids(model))
        request = service_pb2.RepositoryModelUnloadRequest(model_name=model)
        with suppress(grpc.RpcError):
            self.server.api.RepositoryModelUnload(request, timeout=_CALL_TIMEOUT_S)
        self._forget(model)

    def _forget(self, model: str) -> None:
        """The processes that the model had before are not missed any more."""
        self._stubs = {pid: name for pid, name in self._stubs.items() if name != model}
        self._stubs |= self._live()
        self._lacking.discard(model)

    def _live(self) -> dict[int, str]:
        return {} if self.server.pid is None else stubs.live_stubs(self.server.pid)

    def _pids(self, model: str) -> list[int]:
        return [pid for pid, name in self._live().items() if name == model]
