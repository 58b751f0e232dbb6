"""An asyncio loop in its own thread, for steps that handle several calls of `execute` at once.

Triton calls `execute` from one thread, which must return at once; long work runs here. Functions
run in the order in which they were posted.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs from construction until `stop`."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        # a daemon: Triton's stub must be able to exit while a loop hangs
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def call(self, function: Callable[..., object], *values: object) -> None:
        """Schedules a function in the loop."""
        self._loop.call_soon_threadsafe(function, *values)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Starts a task and keeps a reference to it. Call it inside the loop."""
        task = self._loop.create_task(coroutine)
        # asyncio keeps only weak references to tasks; without this one may be collected
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def run(self, coroutine: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Runs a coroutine in the loop and waits for its result, from another thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_s)

    def stop(self) -> None:
        """Cancels running tasks and ends the thread."""
        self.run(self._drain())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _drain(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
