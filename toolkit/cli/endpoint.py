"""Which running Triton a command means: the options for it, and the connection."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from toolkit.cli.progress import console_progress
from toolkit.progress import Progress
from toolkit.runtime.environments import link_environments, uses_cuda
from toolkit.serve.connection import Key, connected
from toolkit.serve.control import Control
from toolkit.serve.record import find_service

_Result = TypeVar("_Result")
Name = Annotated[str, typer.Argument(metavar="MODEL", help="Its name in the repository.")]
Port = Annotated[
    int | None,
    typer.Option(
        min=1, max=65535, help="Which `toolkit serve` of yours, by its port; default: the only one."
    ),
]
TritonAddress = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Instead: any Triton's gRPC address, or unix:PATH."),
]
KeyText = Annotated[
    str | None,
    typer.Option(
        metavar="NAME=VALUE|@FILE",
        envvar="TRITON_TOOLKIT_KEY",
        help="What opens calls that a Triton restricts. In a file other users do not see it.",
    ),
]
Timeout = Annotated[
    float, typer.Option(min=0.1, help="Seconds that loading, or ending requests, may take.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Which Triton is meant."""

    port: int | None
    triton: str | None
    key: str | None
    timeout_s: float = 600.0

    @contextmanager
    def control(self) -> Iterator[Control]:
        """Its control calls. Raises ServeError when it cannot be found."""
        if self.triton is not None and self.port is not None:
            raise typer.BadParameter("either --port or --triton", param_hint="--triton")
        address, repository = self.triton, None
        if address is None:
            record = find_service(self.port)
            address, repository = record.address, Path(record.repository)
        key = Key.parse(self.key) if self.key else None
        with connected(address, key) as api:
            yield Control(api, repository, self.timeout_s)


def run(endpoint: Endpoint, work: Callable[[Control, Progress], _Result]) -> _Result:
    """Does `work` on that Triton while progress is shown."""
    with endpoint.control() as control, console_progress(Console(stderr=True)) as progress:
        return work(control, progress)


def prepare(control: Control, progress: Progress) -> None:
    """A repository that was built anew has to find its environments, as at the start."""
    if control.repository is not None:
        link_environments(control.repository, progress, cuda=uses_cuda(control.repository))
