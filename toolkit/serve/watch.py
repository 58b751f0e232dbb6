"""Distinguishes busy from dead processes: probes them, and measures their work until they answer.

A probe may queue behind minutes of work. So a missing answer alone is not enough: a process that
finishes requests or uses the processor meanwhile is busy, and only one that does neither is dead.
One that computes without finishing a request is hung after a time longer than any request.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

_Result = TypeVar("_Result")
_CHECK_INTERVAL_S = 2.0
_BUSY_SHARE = 0.03
"""Of one core: an idle vLLM engine takes 0.018 for its clocks, all others nothing (measured)."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """`quiet_s` limits silence without work, `hung_s` (0: no limit) work without a result."""

    quiet_s: float = 60.0
    hung_s: float = 900.0
    interval_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Work:
    """What a process has done since it started: finished requests and seconds of CPU time."""

    finished: int = 0
    cpu_s: float = 0.0


@dataclass(slots=True)
class Watch:
    """One process that is probed: `ask` returns when it has answered, however long that takes."""

    ask: Callable[[], object]
    work: Callable[[], Work] = Work
    timeouts: Timeouts = field(default_factory=Timeouts)
    now: Callable[[], float] = time.monotonic
    _answer: Future[object] | None = field(default=None, init=False)
    _next_at: float = field(default=0.0, init=False)
    _checked_at: float = field(default=0.0, init=False)
    _quiet_s: float = field(default=0.0, init=False)
    _unfinished_s: float = field(default=0.0, init=False)
    _work: Work = field(default_factory=Work, init=False)

    def __post_init__(self) -> None:
        # not immediately: a model that was just loaded has answered its load
        self._next_at = self.now() + self.timeouts.interval_s

    def check(self) -> str | None:
        """Why the process counts as dead; None while it is alive. Never waits for it."""
        now = self.now()
        if self._answer is None:
            if now >= self._next_at:
                self._begin(now)
            return None
        if self._answer.done():
            self._answer, self._next_at = None, now + self.timeouts.interval_s
            return None
        if now - self._checked_at >= _CHECK_INTERVAL_S:
            self._observe(now)
        return self._overdue()

    def _begin(self, now: float) -> None:
        self._checked_at, self._quiet_s, self._unfinished_s = now, 0.0, 0.0
        self._work = self.work()
        self._answer = in_background(self.ask)

    def _observe(self, now: float) -> None:
        """Counts only observed time: this process may have been stopped itself."""
        passed_s = min(now - self._checked_at, 2 * _CHECK_INTERVAL_S)
        self._checked_at = now
        self._quiet_s += passed_s
        self._unfinished_s += passed_s
        work, before = self.work(), self._work
        if work.finished != before.finished:
            self._quiet_s, self._unfinished_s, self._work = 0.0, 0.0, work
        # abs: the sum falls when a child process ends and takes its time with it
        elif abs(work.cpu_s - before.cpu_s) >= _BUSY_SHARE * self._quiet_s:
            self._quiet_s, self._work = 0.0, work

    def _overdue(self) -> str | None:
        if self._quiet_s > self.timeouts.quiet_s:
            return f"it did not answer or compute for {self.timeouts.quiet_s:g} s"
        if 0 < self.timeouts.hung_s < self._unfinished_s:
            return f"it computed for {self.timeouts.hung_s:g} s without finishing a request"
        return None


def in_background(call: Callable[[], _Result]) -> Future[_Result]:
    """Runs the call in a daemon thread, which does not delay the end of the process."""
    future: Future[_Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        # the future must end in any case, or its reader waits forever
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
