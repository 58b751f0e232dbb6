"""Shows progress on stderr: bars on a terminal, one line when a step begins and ends elsewhere.

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


class _Lines:
    """Prints when a step begins and ends; amounts and units are for bars."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @contextmanager
    def step(
        self,
        title: str,
        *,
        total: float | None = None,  # noqa: ARG002
        unit: str = "steps",  # noqa: ARG002
    ) -> Iterator[Step]:
        started = time.monotonic()
        typer.echo(f"{title} …", file=self._stream)
        yield _Line()
        typer.echo(f"{title}: done in {time.monotonic() - started:.1f} s", file=self._stream)


class _Line:
    """Ignores amounts: a log needs no line for each percent."""

    def advance(self, amount: float = 1) -> None: ...

    def total(self, amount: float) -> None: ...

    def note(self, text: str) -> None: ...
