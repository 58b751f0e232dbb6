"""Starts vLLM's processes on a CPU as forks of one process that has imported vLLM already.

An engine is three processes: this one, its core, and the core's worker. Each would import torch and
vLLM by itself, one after the other, for 8 s of CPU time each. The fork server imports them while
this process does, and starts no thread, so that its forks may use OpenMP.
"""

import multiprocessing
import os
from contextlib import suppress
from importlib.util import find_spec
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

_MODULES = [
    "vllm.v1.engine.core",
    "vllm.v1.executor.multiproc_executor",
    "vllm.v1.worker.cpu_worker",
    "vllm.v1.worker.cpu_model_runner",
]
_PRELOADED = "LD_PRELOAD"


def start_fork_server() -> None:
    """Starts a new fork server in the background, with the current environment."""
    server: Any = forkserver._forkserver
    server._stop()
    multiprocessing.set_forkserver_preload(_MODULES)
    before = os.environ.get(_PRELOADED)
    os.environ[_PRELOADED] = _libraries(before)
    try:
        server.ensure_running()
    finally:
        if before is None:
            del os.environ[_PRELOADED]
        else:
            os.environ[_PRELOADED] = before


def use_fork_server() -> None:
    """Makes vLLM start its processes as forks of the server."""
    from vllm.v1.engine import utils  # type: ignore[import-not-found]
    from vllm.v1.executor import multiproc_executor  # type: ignore[import-not-found]

    for module in (utils, multiproc_executor):
        module.get_mp_context = _Context


class _Process(ForkServerProcess):
    """A fork with its parent's environment of when it was started, instead of the server's."""

    _environment: dict[str, str]

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        process_obj._environment = dict(os.environ)
        return ForkServerProcess._Popen(process_obj)

    def run(self) -> None:
        with suppress(ImportError):
            import setproctitle  # type: ignore[import-not-found]

            setproctitle.getproctitle()  # finds its memory by where the first environment is
        os.environ.clear()
        os.environ.update(self._environment)
        server: Any = forkserver._forkserver
        server.ensure_running = lambda: None  # it is this process's parent
        use_fork_server()
        super().run()


class _Context(ForkServerContext):
    Process = _Process


def _libraries(given: str | None) -> str:
    """What vLLM itself loads first into its workers (`vllm/platforms/cpu.py`)."""
    found = [given] if given else []
    for package, pattern in (("torch", "lib/libgomp*.so*"), ("vllm", "libs/libtcmalloc*.so*")):
        spec = find_spec(package)
        folder = Path(spec.origin).parent if spec and spec.origin else Path()
        found = [str(path) for path in sorted(folder.glob(pattern))[:1]] + found
    return ":".join(found)
