"""Runs work that untrusted input can make slow or large, in processes that are killed at a
deadline.

Decoding images and checking answers against schemas run in C and Rust, where only the end of the
process stops them. The event loop only waits. A caller never holds more than half of the processes
and never fills the queue. The time of a call starts when a process takes it.
"""

import asyncio
import ctypes
import os
import resource
import signal
from collections.abc import Callable
from concurrent.futures import TimeoutError as DeadlinePassed
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import TypeVar

from pebble import ProcessExpired, ProcessPool

from frontend.turns import Turns

_PR_SET_PDEATHSIG = 1
_NICENESS = 10
"""Below the gateway itself: its event loop comes first on a busy machine."""

Result = TypeVar("Result")


class WorkerTimeout(Exception):
    """The work took longer than its deadline; its process was killed."""


class WorkerDied(Exception):
    """The process ended in the middle of the work, for example beyond its memory limit."""


class Workers:
    """`count` processes, started at the first call. Create it inside the event loop that uses it.

    `deadline_s` bounds one call, `memory_bytes` one process, `max_waiting` the queue: half of it
    is the most that one caller can fill.
    """

    def __init__(
        self, count: int, deadline_s: float, memory_bytes: int, max_waiting: int = 64
    ) -> None:
        self._deadline_s = deadline_s
        self._turns = Turns(count, max_waiting)
        self._pool = ProcessPool(
            count,
            initializer=_limit,
            initargs=(memory_bytes,),
            # a fork of a process with gRPC's threads may inherit a lock that is never released
            context=_Context(),
        )
        self._started: asyncio.Task[bool] | None = None

    async def call(
        self, function: Callable[..., Result], *arguments: object, caller: str
    ) -> Result:
        """Runs an importable function on arguments that can be pickled; raises what it raises.

        Raises WorkerTimeout at the deadline, WorkerDied if the process ends, RateLimited when the
        caller has too many calls waiting, and Overloaded when the queue is full.
        """
        if self._started is None:  # starting processes takes a few milliseconds each
            self._started = asyncio.create_task(asyncio.to_thread(lambda: self._pool.active))
        # shielded: the first caller may go away, and others wait for the same start
        await asyncio.shield(self._started)
        async with self._turns.taken(caller):
            # only with a turn: the pool's own queue is unbounded and does not know the callers
            future = self._pool.schedule(function, args=arguments, timeout=self._deadline_s)
            try:
                return await asyncio.wrap_future(future)
            except DeadlinePassed:
                raise WorkerTimeout(f"not done after {self._deadline_s:g} s") from None
            except ProcessExpired as error:
                raise WorkerDied(f"the process ended with code {error.exitcode}") from None

    async def close(self) -> None:
        """Ends the processes, whatever they do."""
        if self._started is None:
            return
        await asyncio.shield(self._started)
        # stop, not close: close would wait for work that may never end
        self._pool.stop()  # type: ignore[no-untyped-call]
        await asyncio.to_thread(self._pool.join)


class _Process(SpawnProcess):
    """Blocks Ctrl-C from its first instruction on: the imports would print a traceback."""

    def start(self) -> None:
        # the new process inherits the mask of the thread that starts it
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Context(SpawnContext):
    Process = _Process


def _limit(memory_bytes: int) -> None:
    """Runs in each new process."""
    # a killed gateway runs no clean-up; the kernel ends its children (prctl(2))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    # a core file would hold a caller's image or answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(_NICENESS)
