"""Shows progress on stderr: bars on a terminal; elsewhere a line when a step begins
and ends, and some in between.

Implements `toolkit.progress.Progress`.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import typer

from toolkit.progress import Progress, Step


@contextmanager
def console_progress(stream: TextIO | None = None) -> Iterator[Progress]:
    """A Progress on `stream`, by default on stderr."""
    stream = stream or sys.stderr  # this very stream: conversions redirect sys.stderr meanwhile
    if not stream.isatty():
        yield _Lines(stream)
        return
    from rich.console import Console

    from toolkit.cli.bars import drawn

    with drawn(Console(file=stream, soft_wrap=True)) as progress:
        yield progress


_PAUSE_S = 20


class _Lines:
    """Prints when a step begins and ends, and how far a long one is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @contextmanager
    def step(
        self,
        title: str,
        *,
        total: float | None = None,
        unit: str = "steps",  # noqa: ARG002
    ) -> Iterator[Step]:
        started = time.monotonic()
        typer.echo(f"{title} …", file=self._stream)
        yield _Line(title, total, self._stream)
        # not in a `finally`: a step that failed is not done
        typer.echo(f"{title}: done in {time.monotonic() - started:.1f} s", file=self._stream)


class _Line:
    """Prints how far a long step is, at most every `_PAUSE_S` seconds."""

    def __init__(self, title: str, total: float | None, stream: TextIO) -> None:
        self._title = title
        self._total = total
        self._stream = stream
        self._done = 0.0
        self._printed = time.monotonic()

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        self._print("")

    def total(self, amount: float) -> None:
        self._total = amount

    def note(self, text: str) -> None:
        self._print(text)

    def _print(self, note: str) -> None:
        now = time.monotonic()
        if now - self._printed < _PAUSE_S:
            return
        self._printed = now
        share = f"{min(self._done / self._total, 1):.0%}" if self._total else ""
        if text := " ".join(filter(None, (share, note))):
            typer.echo(f"{self._title}: {text}", file=self._stream)
