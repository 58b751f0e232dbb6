"""Logs what blocks the event loop, from a thread that watches it.

The loop leaves a time stamp every `_BEAT_S`. When the last one is older than the bound, the thread
logs the stack of the loop's thread. Code that holds the interpreter's lock for the whole time is
seen when it releases the lock, in the line that called it.
"""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_BEAT_S = 0.02
_REPEAT_S = 5.0  # a block that continues is logged again after so long, then after twice as long
_FRAMES = 16
_log = logging.getLogger("frontend.watchdog")


@dataclass(slots=True)
class Watchdog:
    """Watches one loop. `ended` gets the seconds of each block when it has ended."""

    bound_s: float
    began: Callable[[], None]
    ended: Callable[[float], None]
    _beat_s: float = field(default=0, init=False)
    _loop_thread: int = field(default=0, init=False)
    _stopped: threading.Event = field(default_factory=threading.Event, init=False)

    @contextmanager
    def watching(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Watches the loop, which runs in this thread, until the block ends."""
        self._loop_thread = threading.get_ident()
        heartbeat: asyncio.TimerHandle

        def beat() -> None:
            nonlocal heartbeat
            self._beat_s = time.monotonic()
            heartbeat = loop.call_later(_BEAT_S, beat)

        beat()
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            heartbeat.cancel()
            self._stopped.set()
            thread.join()

    def _watch(self) -> None:
        wait_s = self.bound_s
        while not self._stopped.wait(wait_s):
            # read once: the loop may write a new one between two uses
            seen_s = self._beat_s
            wait_s = seen_s + self.bound_s - time.monotonic()
            if wait_s <= 0:
                self._follow(seen_s)
                wait_s = self.bound_s

    def _follow(self, since_s: float) -> None:
        """From the discovery of a block to its end."""
        # the stack first: it is of use only while the loop is still blocked
        stack, cpu_s, logged_s = self._stack(), time.process_time(), _REPEAT_S / 2
        self.began()
        # a quarter of a beat, so that a block that ends is not measured together with the next one
        while self._beat_s == since_s and not self._stopped.wait(_BEAT_S / 4):
            blocked_s = time.monotonic() - since_s
            if blocked_s > 2 * logged_s:
                logged_s = blocked_s
                text = "the event loop has been blocked for %.0f s by\n%s"
                _log.warning(text, blocked_s, self._stack())
        blocked_s = time.monotonic() - since_s
        self.ended(blocked_s)
        cpu_s = time.process_time() - cpu_s  # little of it: the machine was busy, or the code slept
        text = "the event loop was blocked for %.0f ms (%.0f ms of CPU) by\n%s"
        _log.warning(text, blocked_s * 1000, cpu_s * 1000, stack)

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)
        return "".join(traceback.format_stack(frame)[-_FRAMES:]).rstrip()
