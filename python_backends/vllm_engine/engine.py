"""The lifecycle of one vLLM engine: start, watch, restart after a crash, shut down.

While there is no engine, `check` and `llm` raise Unavailable. The AsyncLLM is made, used and ended
in one loop thread. It knows the number of requests, not the requests themselves.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from python_backends.errors import Unavailable
from python_backends.loop import LoopThread
from python_backends.templates import Parsers
from python_backends.triton import Logger, Settings
from python_backends.vllm_engine.adapters import Adapters
from python_backends.vllm_engine.forking import start_fork_server, use_fork_server
from python_backends.vllm_engine.grammar_limits import GrammarLimits
from python_backends.vllm_engine.grammars import Grammars
from python_backends.vllm_engine.machine import UNBOUND, fit_to_cpu, set_threads
from python_backends.vllm_engine.parsers import fit_parsers
from python_backends.vllm_engine.reaper import Reaper

_WATCH_INTERVAL_S = 0.25
_SETTLE_S = 2.0
"""How long a restart, which blocks the loop, waits until failed requests are answered."""
_RESTART_WINDOW_S = 600.0
_SHUTDOWN_S = 1.0
"""For vLLM's own shutdown; no request is running, so it can be killed after that."""


class Engine:
    """An engine that is restarted after a crash. `llm` is vLLM's AsyncLLM; use it inside `loop`.

    `withdraw` is called once the engine has died too often: nothing will restart it here.
    """

    def __init__(self, settings: Settings, logger: Logger, withdraw: Callable[[], None]) -> None:
        self._settings = settings
        self._withdraw = withdraw
        self._given_up = False
        self.arguments = engine_arguments(settings)
        self.adapters = Adapters.read(settings)
        self.parsers = Parsers()
        self.loop = LoopThread("engine")
        self.running = 0
        self.grammar_limits = GrammarLimits.read(settings)
        self._restart_limit = settings.number("restart_limit", 5)
        self._name = settings.model
        self.logger = logger
        self._stopping = False
        self._llm: Any = None
        self._reaper: Reaper | None = None
        self._grammars: Grammars | None = None
        self._deaths: deque[float] = deque()

    @property
    def llm(self) -> Any:
        self.check()
        return self._llm

    @property
    def grammars(self) -> Grammars:
        """The grammars of the running engine. Raises Unavailable while the engine does not accept
        requests."""
        self.check()
        assert self._grammars is not None
        return self._grammars

    def check(self) -> None:
        """Raises Unavailable unless the engine accepts requests. Safe in any thread."""
        if self._given_up:
            raise Unavailable(f"the engine of '{self._name}' stopped too often to be restarted")
        if self._llm is None:
            raise Unavailable(f"the engine of '{self._name}' stopped and is restarting")
        if self._llm.errored:
            raise Unavailable(f"the engine of '{self._name}' has just stopped")

    def start(self) -> None:
        """Blocks until the engine is ready; raises vLLM's exception for invalid arguments."""
        try:
            self._begin()
            self.parsers = fit_parsers(self._settings, self.arguments, self.logger)
            if self.parsers.reasoning is not None:
                self.arguments.setdefault("reasoning_parser", self.parsers.reasoning)
            self.loop.run(self._build())
        # also for a cancelled start: processes of a half-built engine do not end by themselves
        except BaseException:
            self._clear()
            raise
        # after the first start: its failure is reported by `initialize`, not retried
        self.loop.call(lambda: self.loop.spawn(self._watch()))

    def stop(self) -> None:
        """Ends the engine, its processes and its shared memory."""
        self._stopping = True
        if (
            self._llm is None
        ):  # the loop is busy building: without its processes that fails immediately
            self._clear()
        self.loop.run(self._shut_down())
        self.loop.stop()
        self._clear()

    def _begin(self) -> None:
        """Starts the processes that import while this one does: first, as it takes seconds."""
        # first: it guards only what is started under its mark
        self._reaper = Reaper()
        if _forks(self._settings):
            set_threads()
            start_fork_server()
        self._grammars = Grammars(self.grammar_limits)

    async def _build(self) -> None:
        assert self._grammars is not None
        started = time.monotonic()
        if _forks(self._settings):
            use_fork_server()
        llm = _make_llm(self.arguments)
        _start_grammars(self._grammars, llm)
        self._llm = llm
        self.logger.log_info(
            f"engine of '{self._name}' ready after {time.monotonic() - started:.1f} s"
        )

    async def _shut_down(self) -> None:
        # requests see that it is gone before its shutdown takes time
        llm, self._llm = self._llm, None
        if llm is not None:
            llm.shutdown(timeout=_SHUTDOWN_S)

    def _clear(self) -> None:
        for owned in (self._grammars, self._reaper):
            if owned is not None:
                owned.close()
        self._grammars = self._reaper = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_INTERVAL_S)
            if self._llm is not None and self._llm.errored:
                self._deaths.append(time.monotonic())
                self.logger.log_error(f"engine of '{self._name}' died; restarting it")
                await self._rebuild()

    async def _rebuild(self) -> None:
        """Waits for failed requests, removes the dead engine, and starts a new one, up to the
        limit."""
        deadline = time.monotonic() + _SETTLE_S
        while self.running and time.monotonic() < deadline:  # noqa: ASYNC110  milliseconds
            await asyncio.sleep(0.01)
        await self._shut_down()
        while self._may_restart():
            self._clear()
            try:
                self._begin()
                await self._build()
                return
            except Exception as error:  # vLLM raises anything; the next try may work
                self.logger.log_error(f"engine of '{self._name}' did not start: {error!r}")
                self._deaths.append(time.monotonic())
        if self._stopping:
            return
        self._given_up = True
        self.logger.log_error(f"engine of '{self._name}' died too often; unloading its model")
        self._withdraw()

    def _may_restart(self) -> bool:
        while self._deaths and self._deaths[0] < time.monotonic() - _RESTART_WINDOW_S:
            self._deaths.popleft()
        # failed starts count as deaths, so an engine that cannot start does not try forever
        return not self._stopping and len(self._deaths) <= self._restart_limit


def engine_arguments(settings: Settings) -> dict[str, Any]:
    """The `engine` parameter with its relative paths resolved below the version's folder, and what
    this machine needs: `engine_cpu` on a CPU, else the arguments for its GPUs."""
    arguments = settings.table("engine")
    arguments = {**({} if settings.gpus else settings.table("engine_cpu")), **arguments}
    # what the config says wins over what the machine suggests
    arguments = {**settings.engine, **arguments}
    if "model" not in arguments:
        raise ValueError(f"parameter 'engine' of model '{settings.model}' has no 'model'")
    for name in ("model", "tokenizer"):
        if name in arguments:
            path = settings.folder / Path(arguments[name])
            arguments[name] = str(path) if path.exists() else arguments[name]
    # the statistics are for vLLM's own /metrics, which is not served here
    return {"disable_log_stats": True, **arguments}


def _forks(settings: Settings) -> bool:
    """Whether the engine's processes can be forks: on a CPU, with threads that are not bound, since
    OpenMP reads what they are bound to when it is loaded."""
    embedded = os.environ.get("TRITON_TOOLKIT_TARGET") == "embedded"
    bound = os.environ.get("VLLM_CPU_OMP_THREADS_BIND", UNBOUND) != UNBOUND
    return embedded and not settings.gpus and not bound


def _make_llm(arguments: dict[str, Any]) -> Any:
    from vllm import AsyncEngineArgs  # type: ignore[import-not-found]
    from vllm.config import StructuredOutputsConfig  # type: ignore[import-not-found]
    from vllm.platforms import current_platform  # type: ignore[import-not-found]
    from vllm.usage.usage_lib import UsageContext  # type: ignore[import-not-found]
    from vllm.v1.engine.async_llm import AsyncLLM  # type: ignore[import-not-found]
    from vllm.v1.executor import Executor  # type: ignore[import-not-found]

    if current_platform.is_cpu():
        arguments = fit_to_cpu(arguments)
    structure = StructuredOutputsConfig(**_structure(arguments))
    made = AsyncEngineArgs(**{**arguments, "structured_outputs_config": structure})
    config = made.create_engine_config(UsageContext.ENGINE_CONTEXT)
    _choose_scheduler(config.scheduler_config)
    return AsyncLLM(
        config,
        Executor.get_class(config),
        log_stats=not made.disable_log_stats,
        log_requests=made.enable_log_requests,
        usage_context=UsageContext.ENGINE_CONTEXT,
    )


def _structure(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Sets xgrammar as the engine's backend for structured output. By default vLLM uses the backend
    of the first request, and later requests that need another one fail. Raises ValueError if the
    entry chooses another backend.
    """
    given = arguments.get("structured_outputs_config") or {}
    if given.get("backend", "xgrammar") != "xgrammar":
        raise ValueError(
            f"'structured_outputs_config.backend' is '{given['backend']}'; only 'xgrammar' is"
            " supported"
        )
    return {**given, "backend": "xgrammar"}


def _choose_scheduler(config: Any) -> None:
    """Raises ValueError for a scheduler that is not vLLM's own."""
    from vllm.v1.core.sched.async_scheduler import (  # type: ignore[import-not-found]
        AsyncScheduler,
    )
    from vllm.v1.core.sched.scheduler import Scheduler  # type: ignore[import-not-found]

    from python_backends.vllm_engine.scheduler import AsyncGrammarScheduler, GrammarScheduler

    hosted = {Scheduler: GrammarScheduler, AsyncScheduler: AsyncGrammarScheduler}
    chosen = config.get_scheduler_cls()
    if chosen in hosted:
        config.scheduler_cls = hosted[chosen]
    elif not chosen.__module__.startswith("vllm."):  # the others do not support structured output
        raise ValueError(f"'scheduler_cls' {chosen.__name__} is not supported")


def _start_grammars(grammars: Grammars, llm: Any) -> None:
    """With the vocabulary as vLLM itself would hand it to xgrammar."""
    from vllm.v1.structured_output.backend_xgrammar import (  # type: ignore[import-not-found]
        XgrammarBackend,
    )

    size = llm.vllm_config.model_config.get_vocab_size()
    backend = XgrammarBackend(llm.vllm_config, llm.get_tokenizer(), size)
    compiled = backend.compiler.compile_grammar('root ::= "a"')
    compact = llm.vllm_config.structured_outputs_config.disable_any_whitespace
    grammars.start(str(compiled.tokenizer_info.serialize_json()), compact=compact)
