"""What a sink is: it takes lines without waiting, and a thread of its own writes them.

A bounded queue connects the two. What does not fit is counted as lost, so that neither a slow
disk nor a full pipe stops requests.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from frontend.telemetry.logs.lines import Line

MAX_BATCH = 2000
MAX_BATCH_BYTES = 1 << 20
_TOGETHER_S = 0.02


class Losses:
    """Counts what a sink lost, also those before somebody connected."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._early = 0
        self._count: Callable[[int], None] | None = None

    def add(self, lines: int) -> None:
        """These many are lost."""
        with self._lock:
            if self._count is None:
                self._early += lines
            elif lines:
                self._count(lines)

    def connect(self, count: Callable[[int], None]) -> None:
        """Reports losses there from now on."""
        with self._lock:
            self._count, early, self._early = count, self._early, 0
            if early:
                count(early)


class Sink(Protocol):
    """Where lines go. `put` never waits and never fails."""

    name: str
    losses: Losses
    is_text: bool
    """Whether it writes the text of a line, and not its JSON."""

    def put(self, line: Line) -> None:
        """Takes a line."""
        ...

    def start(self) -> None:
        """Starts its threads."""
        ...

    def close(self, timeout_s: float) -> None:
        """Writes what is left, if that takes no longer."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """The size of the lines that wait on disk."""
        ...


class Waiting:
    """At most `most` lines between those who log and the thread that writes."""

    def __init__(self, most: int, losses: Losses) -> None:
        self._most, self._losses = most, losses
        self._lines: deque[bytes] = deque()
        self._wake, self._closed = threading.Event(), threading.Event()

    @property
    def is_closed(self) -> bool:
        """Whether no more lines come."""
        return self._closed.is_set()

    def put(self, line: bytes) -> None:
        """Takes a line, or counts it as lost."""
        if len(self._lines) >= self._most:
            self._losses.add(1)
            return
        self._lines.append(line)
        # the thread clears it before it takes lines, so that it cannot miss this one
        if not self._wake.is_set():
            self._wake.set()

    def take(self, wait_s: float | None) -> list[bytes]:
        """The next lines, about one MiB at most; none after `wait_s`, or once it is closed."""
        if not self._lines and not self.is_closed:
            self._wake.wait(wait_s)
        if 0 < len(self._lines) < MAX_BATCH:
            # woken for each line, the thread would cost requests more than the lines do; also
            # under load, when the next line is there whenever the last one is written
            self._closed.wait(_TOGETHER_S)
        self._wake.clear()
        taken: list[bytes] = []
        size = 0
        # the thread is the only one that takes lines away
        while self._lines and len(taken) < MAX_BATCH and size < MAX_BATCH_BYTES:
            taken.append(self._lines.popleft())
            size += len(taken[-1])
        return taken

    def give_back(self, lines: list[bytes]) -> None:
        """Puts lines that could not be written back to the front."""
        self._lines.extendleft(reversed(lines))

    def close(self) -> None:
        """No more lines come."""
        self._closed.set()
        self._wake.set()

    def __len__(self) -> int:
        return len(self._lines)
