"""Finds models of a running Triton that died or hang, and restarts only those.

Triton 2.51 never notices a dead Python process, but loading its model again starts new processes
while every other model continues (docs/decisions/0010-one-dead-model.md).
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
from toolkit.serve.connection import triton_errors
from toolkit.serve.models import as_json, public
from toolkit.serve.probe import Probe, probes
from toolkit.serve.reasons import plain
from toolkit.serve.restarts import MAX_RESTARTS, Restarts
from toolkit.serve.triton import TritonServer
from toolkit.serve.watch import Timeouts, Watch, Work, in_background

GENERATION = "toolkit.generation"
"""Config parameter of a model that was restarted: the gateway ends the streams of the old one."""
_CALL_TIMEOUT_S = 5.0
_ANSWER_S = 3600.0  # for as long as a probe may wait behind other work


@dataclass(slots=True)
class Healer:
    """Watches the models of one server. `look` never waits for any of them."""

    server: TritonServer
    report: Callable[[str], None]
    timeouts: Timeouts = field(default_factory=Timeouts)
    now: Callable[[], float] = time.monotonic
    lost_process: bool = field(default=False, init=False)
    """Whether a model's process died since the server started: Triton then cannot end cleanly."""
    _watches: dict[str, Watch] = field(default_factory=dict, init=False)
    _probed: dict[str, ModelConfig] = field(default_factory=dict, init=False)
    """The config that each watch was made for."""
    _restarts_running: dict[str, Future[None]] = field(default_factory=dict, init=False)
    _attempts: dict[str, Restarts] = field(default_factory=dict, init=False)
    _stubs: dict[int, str] = field(default_factory=dict, init=False)
    _incomplete: set[str] = field(default_factory=set, init=False)

    def begin(self) -> None:
        """Takes the server's current processes as the expected ones."""
        self._stubs, self._incomplete, self.lost_process = self._live(), set(), False
        self._watches.clear()
        self._restarts_running.clear()

    def check(self, configs: Mapping[str, ModelConfig]) -> None:
        """Checks all models; `configs` are those of all that are loaded."""
        self._collect_restarts()
        for model in self.dead_models():
            self._restart_model(model, "one of its Python processes died", hung=False)
        self._follow(configs)
        for model, watch in list(self._watches.items()):
            if model not in self._restarts_running and (reason := watch.check()):
                self._restart_model(model, reason, hung=True)

    def dead_models(self) -> list[str]:
        """The loaded models that lack a Python process.

        Processes also end when a model is unloaded or loaded again. So a model counts only if a
        process is missing in two checks in a row.
        """
        live = self._live()
        gone = {model for pid, model in self._stubs.items() if pid not in live}
        incomplete = {model for model in gone if self._lacks_process(model)}
        dead = sorted(incomplete & self._incomplete)
        self._incomplete = incomplete
        self._stubs = live | {p: model for p, model in self._stubs.items() if model in incomplete}
        return dead

    def _lacks_process(self, model: str) -> bool:
        """Whether a loaded model has fewer processes than its config asks for."""
        try:
            versions = self.server.ready_versions().get(model, 0)
            groups = self.server.config(model).instance_group if versions else []
        except grpc.RpcError:
            return True
        # Triton starts one stub for each instance on each GPU, for each version
        expected: int = versions * sum(group.count * max(1, len(group.gpus)) for group in groups)
        return len(self._pids(model)) < expected

    def _follow(self, configs: Mapping[str, ModelConfig]) -> None:
        """Watches exactly the models that are loaded now."""
        known = {each.step: each for each in probes(public(list(configs.values())), configs)}
        for model in list(self._watches):
            # loaded again with other tensors or versions: the old probe would prove nothing
            if model not in known or self._probed.get(model) != configs[model]:
                del self._watches[model]
        for model in known.keys() - self._watches.keys() - self._restarts_running.keys():
            self._watches[model] = self._watch(known[model])
            self._probed[model] = configs[model]

    def _watch(self, probe: Probe) -> Watch:
        return Watch(
            ask=lambda: probe.run(self.server.api, _ANSWER_S),
            work=partial(self._work, probe.step),
            timeouts=self.timeouts,
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

    def _restart_model(self, model: str, reason: str, *, hung: bool) -> None:
        if model in self._restarts_running:
            return
        self._watches.pop(model, None)
        self.lost_process = True
        count = self._attempts.setdefault(model, Restarts(self.now)).add()
        # an engine that dies at once would take the machine's cores with every start
        if count > MAX_RESTARTS:
            self.report(f"{model}: {reason}; restarted {count - 1} times, so it is unloaded")
            self._give_up(model)
            return
        self.report(f"{model}: {reason}; restarting it; all others continue")
        # a vLLM engine takes about 30 s to load; other models are checked meanwhile
        self._restarts_running[model] = in_background(partial(self._reload, model, hung))

    def _reload(self, model: str, hung: bool) -> None:
        """Starts new processes for the model; working ones finish their requests.

        Raises ServeError if Triton cannot load it, and grpc.RpcError if it does not answer.
        """
        config = self.server.config(model)  # of the loaded model: with the chosen versions
        config.parameters[GENERATION].string_value = f"{time.time():.3f}"
        # the old instance would wait for its requests, and those of a hung one never end
        if hung:
            stubs.kill(self._pids(model))
        request = service_pb2.RepositoryModelLoadRequest(model_name=model)
        request.parameters["config"].string_param = as_json(config)
        with triton_errors(f"{model} cannot be loaded again"):
            self.server.api.RepositoryModelLoad(request, timeout=self.server.options.load_timeout_s)

    def _collect_restarts(self) -> None:
        """Collects the results of restarts; one that failed is tried again by the next check."""
        for model in [model for model, future in self._restarts_running.items() if future.done()]:
            error = self._restarts_running.pop(model).exception()
            if error is None:
                self._forget(model)
                self.report(f"{model} is served again")
            else:
                reason = error.message if isinstance(error, ServeError) else str(error)
                self.report(f"{model}: {plain(reason)}")

    def _give_up(self, model: str) -> None:
        """Unloads it, so that requests for it fail immediately."""
        stubs.kill(self._pids(model))
        request = service_pb2.RepositoryModelUnloadRequest(model_name=model)
        with suppress(grpc.RpcError):
            self.server.api.RepositoryModelUnload(request, timeout=_CALL_TIMEOUT_S)
        self._forget(model)

    def _forget(self, model: str) -> None:
        """Stops expecting the processes that the model had before."""
        self._stubs = {pid: name for pid, name in self._stubs.items() if name != model}
        self._stubs |= self._live()
        self._incomplete.discard(model)

    def _live(self) -> dict[int, str]:
        return {} if self.server.pid is None else stubs.live_stubs(self.server.pid)

    def _pids(self, model: str) -> list[int]:
        return [pid for pid, name in self._live().items() if name == model]
