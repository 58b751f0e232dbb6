"""The messages of a worker process to its parent: JSON lines on a separate pipe, not on stdout.

What libraries print goes to a log. It imports only the standard library, because workers run in
environments without the toolkit.
"""

import ctypes
import itertools
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_PR_SET_PDEATHSIG = 1
_MOST_LETTERS = 500
Job = dict[str, Any]


class Step:
    """A running piece of work; see `toolkit.progress.Step`."""

    def __init__(self, send: Callable[[Job], None], number: int) -> None:
        self._send = send
        self._number = number

    def advance(self, amount: float = 1) -> None:
        self._send({"step": self._number, "advance": amount})

    def total(self, amount: float) -> None:
        self._send({"step": self._number, "total": amount})

    def note(self, text: str) -> None:
        self._send({"step": self._number, "note": text})


class Passes:
    """Counts the parts of a model in all passes over it, so that the percentage only grows.

    A total that grew with each pass would make the percentage fall when a pass begins.
    """

    def __init__(self, step: Step, passes: int) -> None:
        self._step = step
        self._passes = passes
        self._parts = 0
        self._done = 0

    def begin(self, parts: int) -> None:
        """A pass over that many parts begins; those that follow are expected to have as many."""
        self._step.total(self._done + parts * max(self._passes, 1))
        self._passes -= 1
        self._parts = parts

    def advance(self) -> None:
        """One part is done. Outside of a pass it is not counted: it is not in the total."""
        if self._parts:
            self._parts -= 1
            self._done += 1
            self._step.advance()


class Events:
    """Writes the worker's messages; implements `toolkit.progress.Progress`."""

    def __init__(self, descriptor: int) -> None:
        self._pipe = os.fdopen(descriptor, "w", encoding="utf-8")
        self._numbers = itertools.count()

        self._titles: list[str] = []

    @property
    def title(self) -> str:
        """The title of the running step."""
        return self._titles[-1] if self._titles else "begin"

    def send(self, event: Job) -> None:
        self._pipe.write(json.dumps(event) + "\n")
        self._pipe.flush()

    @contextmanager
    def step(
        self, title: str, *, total: float | None = None, unit: str = "steps"
    ) -> Iterator[Step]:
        number = next(self._numbers)
        self._titles.append(title)
        self.send({"step": number, "open": title, "total": total, "unit": unit})
        # no `finally`: after an error the title is what `work` names as the step that failed
        yield Step(self.send, number)
        self.send({"step": number, "close": True})
        self._titles.pop()


def work(run: Callable[[Job, Events], Job]) -> None:
    """Runs a worker: reads the job from stdin, sends `result` or `error`, and ends.

    It ends when its parent ends. Errors with a `message` are reported with their hint, others
    with the model and the step; the log has the traceback.
    """
    # first of all: the session is its own, so no signal of the terminal ends it
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    events = Events(int(sys.argv[1]))
    job: Job = {}
    try:
        job = json.load(sys.stdin)
        result = run(job, events)
    except Exception as error:
        traceback.print_exc()
        text = " ".join(f"{type(error).__name__}: {error}".split())[:_MOST_LETTERS]
        name = os.path.basename(str(job.get("source", "the model")).rstrip("/"))  # noqa: PTH119
        message = getattr(error, "message", None) or f"{name}: cannot {events.title}: {text}"
        events.send({"error": message, "hint": getattr(error, "hint", None)})
        sys.exit(1)
    events.send({"result": result})
