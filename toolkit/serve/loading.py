"""Loads several models at a time, and explains why some of them fail or none of them ends.

It does not know how a model is loaded. Triton's message often lacks the reason, so what the model's
steps logged during the load is read as well.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from toolkit.errors import ServeError
from toolkit.progress import Progress
from toolkit.serve.reasons import plain
from toolkit.serve.watch import Timeouts, Watch, Work, in_background

STALL_S = 120.0
"""How long no process may compute, read or write during a load."""
_MOST_BYTES = 1 << 20
_CHECK_INTERVAL_S = 2.0

Loads = Mapping[Future[str | None], str]
"""Running loads and their models."""


class TritonDied(ServeError):
    """The server ended while it loaded models; which model caused it is unknown."""


class Stalled(Exception):
    """No load ends, and no process works for these models; `reason` says for how long."""

    def __init__(self, models: Collection[str], reason: str) -> None:
        self.models, self.reason = sorted(models), reason
        super().__init__(f"{', '.join(self.models)}: {reason}")


class LoadFailed(ServeError):
    """Some models do not load; `reasons` holds one sentence for each."""

    def __init__(
        self, reasons: Mapping[str, str], log: Path, logged: Mapping[str, str] | None = None
    ) -> None:
        """`logged` is what each model logged meanwhile."""
        logged = logged or {}
        self.reasons = {
            model: plain(reason, logged.get(model, "")) for model, reason in sorted(reasons.items())
        }
        details = "\n".join(f"{model}: {reason}" for model, reason in self.reasons.items())
        super().__init__(f"Triton cannot load\n{details}", hint=f"for details, read {log}")


class _NotLoaded(Exception):
    """One model; its reason is reported with those of the others."""


class _Enough(Exception):
    """The other loads are of no use, so their ends are not awaited."""


class Logs:
    """The log of a server and those of its models' steps, from the time of creation on."""

    def __init__(self, server: Path, models: Path | None) -> None:
        """`models` is the folder of the logs of steps; without it their output is in `server`."""
        self._server = server
        self._models = models
        self._sizes = {log: log.stat().st_size for log in self._all() if log.exists()}

    def of(self, model: str) -> str:
        """What the server and the steps of `model` have logged since, at most 1 MiB of each log."""
        return "".join(
            _read_from(log, self._sizes.get(log, 0))
            for log in self._all()
            if log == self._server or log.name.startswith(f"{model}.")
        )

    def _all(self) -> list[Path]:
        return [self._server, *(self._models.glob("*.log") if self._models else ())]


def load_all(
    load: Callable[[str], str | None],
    models: list[str],
    progress: Progress,
    work_s: Callable[[Collection[str]], float],
    *,
    strict: bool = False,
    stall_s: float = STALL_S,
) -> dict[str, str]:
    """Runs `load` for all models at the same time; returns the reason of each that fails.

    `load` returns a reason, or None once the model is loaded; `work_s` returns how many seconds all
    processes have worked, without those of the given, loaded models. An interruption does not
    wait for running loads; with `strict` the first failure does not either. Raises Stalled if no
    load ends and nothing works for `stall_s`.
    """
    loads = {in_background(partial(load, model)): model for model in models}
    failures = {}
    with (
        suppress(_Enough),
        progress.step("load models", total=len(models), unit="models") as step,
        ExitStack() as stack,
    ):
        steps = {model: ExitStack() for model in models}
        for model in models:
            stack.push(steps[model])
            steps[model].enter_context(progress.step(f"load {model}"))
        for done in _ended(loads, work_s, stall_s):
            step.advance()
            # a step that ends with an error is not reported as done
            with suppress(_NotLoaded), steps[loads[done]]:
                if reason := done.result():
                    failures[loads[done]] = reason
                    raise _NotLoaded
            if strict and failures:
                raise _Enough
    return failures


def _ended(
    loads: Loads, work_s: Callable[[Collection[str]], float], stall_s: float
) -> Iterator[Future[str | None]]:
    """Each load once it has ended. Raises Stalled."""
    waiting = set(loads)

    def work() -> Work:
        return Work(len(loads) - len(waiting), work_s({loads[load] for load in {*loads} - waiting}))

    timeouts = Timeouts(quiet_s=stall_s, hung_s=0.0, interval_s=0.0)
    watch = Watch(ask=partial(wait, loads), work=work, timeouts=timeouts)
    while waiting:
        ended, waiting = wait(waiting, _CHECK_INTERVAL_S, FIRST_COMPLETED)
        yield from ended
        if waiting and (reason := watch.check()):
            raise Stalled({loads[load] for load in waiting}, reason)


def _read_from(log: Path, start: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(start)
            return file.read(_MOST_BYTES).decode(errors="replace")
    except OSError:
        return ""
