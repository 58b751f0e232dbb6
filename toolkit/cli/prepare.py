"""`toolkit prepare`: everything that serving needs, installed now."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from toolkit.cli.progress import console_progress
from toolkit.runtime.environments import NAMES, ensure_environment
from toolkit.runtime.triton import ensure_triton


def prepare(
    environment: Annotated[
        list[str] | None,
        typer.Option(help=f"Only this one, repeatable. Known: {', '.join(NAMES)}."),
    ] = None,
) -> None:
    """Install Triton and the Python environments of its models, so that `serve` starts offline.

    `serve` does this by itself for what its repository needs; images are built with it.
    """
    console = Console(file=sys.stderr)
    with console_progress(console) as progress:
        paths = [ensure_triton(progress).root]
        paths += [ensure_environment(name, progress) for name in environment or NAMES]
    for path in paths:
        typer.echo(path)
