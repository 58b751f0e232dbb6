"""Runs heavy work in a separate process: its memory is freed, its output goes to a log, and Ctrl-C
ends it immediately, also inside a library.

Invariant: when `run_worker` returns or raises, the process and its whole session are gone.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import QuantizeError
from toolkit.progress import Progress, Step

_ROOT = Path(__file__).parents[2]
_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "PYTHONWARNINGS": "ignore",
    "PYTHONDONTWRITEBYTECODE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # threads that spin while they wait starve each other as soon as a neighbour works, too
    "OMP_WAIT_POLICY": "PASSIVE",
}


@dataclass(frozen=True, slots=True)
class Worker:
    """A module with a function `main`, the Python that runs it, and the log of its output.

    `libraries` is a folder of shared libraries that the machine may lack."""

    module: str
    python: Path
    log: Path
    libraries: Path | None = None


def run_worker(worker: Worker, job: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The worker's result for `job`. Raises QuantizeError when it fails or dies."""
    # appended, so that the worker's own environment wins where both have a package
    start = f"import sys; sys.path.append({str(_ROOT)!r}); import {worker.module} as m; m.main()"
    reader, writer = os.pipe()
    worker.log.parent.mkdir(parents=True, exist_ok=True)
    with worker.log.open("wb") as log:
        process = subprocess.Popen(
            [str(worker.python), "-c", start, str(writer)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(writer,),
            env={**os.environ, **_QUIET, **_library_path(worker.libraries)},
            # a group of its own, so that `_end` reaches the worker's children as well
            start_new_session=True,
        )
    # this process's copy: while it is open, the pipe does not end with the worker
    os.close(writer)
    try:
        assert process.stdin is not None
        # a worker may die before it reads; `_follow` then reports its log
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(json.dumps(job).encode())
        with open(reader, encoding="utf-8") as events:  # noqa: PTH123  a descriptor
            return _follow(events, progress, process, worker.log)
    finally:
        _end(process)


def _library_path(folder: Path | None) -> dict[str, str]:
    return {} if folder is None else {"LD_LIBRARY_PATH": str(folder)}


def _follow(
    events: Any, progress: Progress, process: subprocess.Popen[bytes], log: Path
) -> dict[str, Any]:
    open_steps: dict[int, tuple[Step, ExitStack]] = {}
    for line in events:
        event = json.loads(line)
        if "result" in event:
            return dict(event["result"])
        if "error" in event:
            raise QuantizeError(event["error"], hint=event["hint"] or f"the log is {log}")
        _show(event, open_steps, progress)
    raise QuantizeError(_death(process.wait(), log), hint=f"the whole log is {log}")


def _show(
    event: dict[str, Any], open_steps: dict[int, tuple[Step, ExitStack]], progress: Progress
) -> None:
    number = event["step"]
    if "open" in event:
        stack = ExitStack()
        step = progress.step(event["open"], total=event["total"], unit=event["unit"])
        open_steps[number] = stack.enter_context(step), stack
        return
    step_, stack = open_steps[number]
    if "advance" in event:
        step_.advance(event["advance"])
    elif "note" in event:
        step_.note(event["note"])
    elif "close" in event:
        stack.close()
        del open_steps[number]
    elif "total" in event:
        step_.total(event["total"])


def _death(code: int, log: Path) -> str:
    if code == -signal.SIGKILL:
        return "the worker was killed, probably because memory ran out"
    # no result and no error: only the log can know, as after a fault in a library's C code
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
    return f"the worker ended with status {code} without a result:\n{tail}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its session may hold children that outlive it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
