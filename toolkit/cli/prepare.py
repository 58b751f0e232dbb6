"""`toolkit prepare`: installs everything that serving needs."""

from dataclasses import dataclass
from typing import Annotated

import typer

from toolkit.cli.options import Json, takes
from toolkit.cli.output import print_json, print_line
from toolkit.cli.progress import console_progress


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `toolkit prepare`."""

    environment: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this environment: onnx, vllm, onnx-cuda or vllm-cuda; may be repeated."
        ),
    ] = None
    cuda: Annotated[
        bool,
        typer.Option(
            "--cuda", help="Install the environments for NVIDIA GPUs; downloads about 5 GB."
        ),
    ] = False
    as_json: Json = False


@takes(Options)
def prepare(options: Options) -> None:
    """Install Triton and the Python environments of its models.

    Afterwards `toolkit serve` can start without a network. `toolkit serve` itself installs what
    its repository needs; container images are built with this command.

    Examples:

        toolkit prepare

        toolkit prepare --environment onnx
    """
    from toolkit.runtime.environments import CUDA, NAMES, ensure_environment
    from toolkit.runtime.triton import ensure_triton

    with console_progress() as progress:
        paths = {"triton": str(ensure_triton(progress).root)}
        for name in options.environment or (CUDA.values() if options.cuda else NAMES):
            paths[name] = str(ensure_environment(name, progress))
    if options.as_json:
        print_json(paths)
    else:
        for path in paths.values():
            print_line(path)
