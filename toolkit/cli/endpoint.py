"""Connects a command to a running Triton, and declares the options for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from toolkit.cli.complete import complete_models
from toolkit.cli.options import Json, check_triton
from toolkit.cli.progress import console_progress
from toolkit.errors import UsageError
from toolkit.progress import Progress

if TYPE_CHECKING:
    from toolkit.serve.activity import Activity
    from toolkit.serve.control import Control

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The options of every command that talks to a running Triton."""

    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Port of one of your `toolkit serve` processes. Default: the only one.",
        ),
    ] = None
    triton: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            callback=check_triton,
            help="gRPC address of any Triton, or unix:PATH; instead of --port.",
        ),
    ] = None
    key: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=VALUE|@FILE",
            envvar="TRITON_TOOLKIT_KEY",
            help="Key for calls that Triton restricts. In a file, other users of this machine "
            "cannot read it.",
        ),
    ] = None
    as_json: Json = False

    @contextmanager
    def control(self, timeout_s: float = 600.0) -> Iterator["Control"]:
        """The control calls of that Triton. Raises ServeError when it cannot be found."""
        from toolkit.serve.connection import Key, connected
        from toolkit.serve.control import Control
        from toolkit.serve.record import find_service

        if self.triton is not None and self.port is not None:
            raise UsageError("--port and --triton cannot be combined", hint="pass one of them")
        # a foreign Triton's repository is not known, so its configs come only from Triton
        address, repository = self.triton, None
        if address is None:
            record = find_service(self.port, "pass the address of any Triton: --triton HOST:PORT")
            address, repository = record.address, Path(record.repository)
        key = Key.parse(self.key) if self.key else None
        with connected(address, key) as api:
            yield Control(api, repository, timeout_s)

    def activity(self) -> "dict[str, Activity]":
        """The activity of its models from the gateway beside it; empty for any other Triton."""
        from toolkit.serve.activity import activity_of
        from toolkit.serve.record import find_service

        # the gateway's private socket is known for services of this machine only
        return {} if self.triton else activity_of(find_service(self.port)) or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class OneModel(Endpoint):
    """A command about one model."""

    name: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="The model's name or alias.", autocompletion=complete_models
        ),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(OneModel):
    """A command that loads or unloads a model."""

    timeout_s: Annotated[
        float,
        typer.Option(
            min=0.1, help="Timeout in seconds for loading, or for running requests to finish."
        ),
    ] = 600.0

    def run(self, work: Callable[["Control", Progress], _Result]) -> _Result:
        """Runs `work` on that Triton and shows its progress."""
        with self.control(self.timeout_s) as control, console_progress() as progress:
            return work(control, progress)


def link_environments_of(control: "Control", progress: Progress) -> None:
    """Links the environments of a repository that was built again, as `toolkit serve` does."""
    from toolkit.runtime.environments import link_environments, uses_cuda

    if control.repository is not None:
        # the service's choice of device stays, though this command does not know its options
        link_environments(control.repository, progress, cuda=uses_cuda(control.repository))
