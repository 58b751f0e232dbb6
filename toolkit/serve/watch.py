"""Tells busy from dead: asks something now and then, and while it owes the answer watches it work.

A request may queue behind minutes of work. So silence alone proves nothing: what finishes requests
or uses the processor meanwhile is busy, and only what does neither is dead. What computes without
ever finishing anything is given up after a time that is longer than any request may take.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

_Result = TypeVar("_Result")
_LOOK_INTERVAL_S = 2.0
_BUSY_SHARE = 0.03
"""Of one core: an idle vLLM engine takes 0.018 for its clocks, all others nothing (measured)."""


@dataclass(frozen=True, slots=True)
class Patience:
    """`quiet_s` bounds silence without work, `hung_s` (0: nothing does) work without an end."""

    quiet_s: float = 60.0
    hung_s: float = 900.0
    interval_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Work:
    """What something has done since it began: requests finished, seconds computed."""

    finished: int = 0
    cpu_s: float = 0.0


@dataclass(slots=True)
class Watch:
    """One thing that is asked: `ask` returns when it has answered, however long that takes."""

    ask: Callable[[], None]
    work: Callable[[], Work] = Work
    patience: Patience = field(default_factory=Patience)
    now: Callable[[], float] = time.monotonic
    _answer: Future[None] | None = field(default=None, init=False)
    _next_at: float = field(default=0.0, init=False)
    _looked_at: float = field(default=0.0, init=False)
    _quiet_s: float = field(default=0.0, init=False)
    _unfinished_s: float = field(default=0.0, init=False)
    _work: Work = field(default_factory=Work, init=False)

    def __post_init__(self) -> None:
        self._next_at = self.now() + self.patience.interval_s

    def look(self) -> str | None:
        """Why it is dead; None while it is not. Never waits for it."""
        now = self.now()
        if self._answer is None:
            if now >= self._next_at:
                self._begin(now)
            return None
        if self._answer.done():
            self._answer, self._next_at = None, now + self.patience.interval_s
            return None
        if now - self._looked_at >= _LOOK_INTERVAL_S:
            self._observe(now)
        return self._overdue()

    def _begin(self, now: float) -> None:
        self._looked_at, self._quiet_s, self._unfinished_s = now, 0.0, 0.0
        self._work = self.work()
        self._answer = in_background(self.ask)

    def _observe(self, now: float) -> None:
        """Counts only time that was watched: a process that was stopped itself saw nothing."""
        passed_s = min(now - self._looked_at, 2 * _LOOK_INTERVAL_S)
        self._looked_at = now
        self._quiet_s += passed_s
        self._unfinished_s += passed_s
        work, before = self.work(), self._work
        if work.finished != before.finished:
            self._quiet_s, self._unfinished_s, self._work = 0.0, 0.0, work
        elif abs(work.cpu_s - before.cpu_s) >= _BUSY_SHARE * self._quiet_s:
            self._quiet_s, self._work = 0.0, work

    def _overdue(self) -> str | None:
        if self._quiet_s > self.patience.quiet_s:
            return f"it has neither answered nor worked for {self.patience.quiet_s:g} s"
        if 0 < self.patience.hung_s < self._unfinished_s:
            return f"it has worked for {self.patience.hung_s:g} s without finishing anything"
        return None


def in_background(call: Callable[[], _Result]) -> Future[_Result]:
    """Runs the call in a thread that nothing waits for at the end of the process."""
    future: Future[_Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
