"""`toolkit prepare`: everything that serving needs, installed now."""

import json
import sys
from typing import Annotated

import typer
from rich.console import Console

from toolkit.cli.progress import console_progress
from toolkit.runtime.environments import CUDA, NAMES, ensure_environment
from toolkit.runtime.triton import ensure_triton


def prepare(
    environment: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Only this one, repeatable. Known: {', '.join((*NAMES, *CUDA.values()))}."
        ),
    ] = None,
    cuda: Annotated[
        bool, typer.Option("--cuda", help="The environments for NVIDIA GPUs, about 5 GB to fetch.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the folders as JSON.")] = False,
) -> None:
    """Install Triton and the environments its models run in.

    Afterwards `toolkit serve` can start without a network.

    `serve` does this by itself for what its repository needs; images are built with it.

    Examples:

        toolkit prepare

        toolkit prepare --environment onnx
    """
    console = Console(file=sys.stderr)
    with console_progress(console) as progress:
        names = environment or (CUDA.values() if cuda else NAMES)
        paths = {"triton": str(ensure_triton(progress).root)}
        paths |= {name: str(ensure_environment(name, progress)) for name in names}
    typer.echo(json.dumps(paths, indent=2) if as_json else "\n".join(paths.values()))
