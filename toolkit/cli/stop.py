"""`toolkit stop`: end a running service, or unload one of its models."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.complete import complete_models
from toolkit.cli.options import takes
from toolkit.cli.output import say
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.serve.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line of `toolkit stop`."""

    name: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Unload this model only; the service continues.",
            autocompletion=complete_models,
        ),
    ] = None
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the service. Default: the only one."),
    ] = None
    every: Annotated[bool, typer.Option("--all", help="Stop all of your services.")] = False
    kill: Annotated[
        bool, typer.Option("--kill", help="Stop without waiting for running requests or models.")
    ] = False
    timeout_s: Annotated[
        float, typer.Option(min=0.1, help="Seconds to wait for running requests to finish.")
    ] = 60.0


@takes(Options)
def stop(options: Options) -> None:
    """Stop a running service after its running requests have finished.

    With MODEL, unload that model and its own steps; `toolkit models load` loads it again.
    Only services that you started with `toolkit serve` are stopped, never another process.

    Exit status: 0 it has stopped, or nothing was running; 1 it still runs, no service uses that
    port, or several run and neither --port nor --all is given.

    Examples:

        toolkit stop

        toolkit stop smollm2-135m-instruct

        toolkit stop --port 9001
    """
    if options.name is not None:
        _unload(options, options.name)
        return
    records = _chosen(options)
    if not records:
        say("no service is running")
    for record in records:
        _end(record, options)


def _chosen(options: Options) -> "list[Record]":
    from toolkit.serve.record import find_service, live_records

    if options.every and options.port is not None:
        raise UsageError("--all and --port cannot be combined", hint="pass one of them")
    live = live_records()
    # nothing runs: that is what was asked for, so no error
    if options.every or (not live and options.port is None):
        return live
    return [find_service(options.port)]


def _end(record: "Record", options: Options) -> None:
    from toolkit.serve.background import stop_service

    say(f"stopping the service on port {record.port} ({record.repository})")
    stop_service(record, _say_for_stop, options.timeout_s, kill=options.kill)
    say(f"stopped the service on port {record.port}")


def _say_for_stop(text: str) -> None:
    """The service's own line; its terminal's Ctrl-C is not this one's."""
    say(text.partition("; Ctrl-C")[0])


def _unload(options: Options, name: str) -> None:
    if options.every or options.kill:
        flag = "--all" if options.every else "--kill"
        raise UsageError(f"{flag} stops services, not a model", hint=f"toolkit stop {flag}")
    from toolkit.cli.endpoint import Endpoint
    from toolkit.serve.record import find_service

    find_service(options.port)  # its error does not offer what this command does not have
    with Endpoint(port=options.port).control(options.timeout_s) as control:
        # an alias may have been given
        name = control.find(name).name
        say(f"unloading {name}; running requests finish first")
        gone = control.unload(name)
    say(f"unloaded: {', '.join(gone)}" if gone else f"{name} was not loaded")
