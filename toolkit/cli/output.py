"""What commands print: results to stdout, messages to stderr, both without rich where they can.

Colors appear on a terminal only, and not with NO_COLOR. A table is drawn on a terminal; anywhere
else each row is one line, with its columns separated by tabs, so that `cut` and `awk` can read it.
"""

import json
import os
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TextIO

import typer

from toolkit.errors import SpecError, ToolkitError

_STYLES: dict[str, dict[str, Any]] = {
    "bold": {"bold": True},
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow", "bold": True},
    "hint": {"fg": "cyan", "bold": True},
    "help": {"fg": "green", "bold": True},
    "good": {"fg": "green", "bold": True},
    "dim": {"fg": "cyan"},
}


def print_json(value: object) -> None:
    """Prints a result as JSON to stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_line(*pieces: str | tuple[str, str]) -> None:
    """Prints one line of a result to stdout: texts, or (text, style) pairs."""
    _write(sys.stdout, pieces)


def say(*pieces: str | tuple[str, str]) -> None:
    """Prints one line for people to stderr: texts, or (text, style) pairs."""
    _write(sys.stderr, pieces)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()
) -> None:
    """Prints rows to stdout. `right` names the columns that are aligned to the right."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            typer.echo("\t".join(row))
        return
    from rich.console import Console  # only here: rich takes 0.05 s to import
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in right else "left")
    for row in rows:
        table.add_row(*row)
    # names may contain brackets, which are rich's markup
    Console(highlight=False, markup=False).print(table)


def _write(stream: TextIO, pieces: Iterable[str | tuple[str, str]]) -> None:
    color = has_color(stream)
    parts = [(piece, "") if isinstance(piece, str) else piece for piece in pieces]
    text = "".join(
        typer.style(part, **_STYLES[style]) if color and style else part for part, style in parts
    )
    typer.echo(text, file=stream, color=color)


def print_error(error: ToolkitError) -> None:
    """Prints an error and how to fix it; for models.yaml, every finding with its line."""
    if isinstance(error, SpecError):
        for finding in error.findings:
            say(("error:", "error"), f" {finding}")
            if finding.fix:
                say("  ", ("hint:", "hint"), f" {finding.fix}")
        return
    say(("error:", "error"), f" {error.message}")
    if error.hint:
        say(("hint:", "hint"), f" {error.hint}")


def has_color(stream: TextIO) -> bool:
    """Whether colors are wanted there: see https://no-color.org and https://force-color.org."""
    # an empty value counts as not set (no-color.org)
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    # Emacs and CI runners set TERM=dumb and print escape codes as they are
    return stream.isatty() and os.environ.get("TERM") != "dumb"
