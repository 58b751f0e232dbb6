"""`toolkit logs`: prints the logs of a service, its gateway, Triton and its models."""

import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.complete import complete_models
from toolkit.cli.options import takes
from toolkit.cli.output import print_line, say
from toolkit.errors import ServeError, UsageError

if TYPE_CHECKING:
    from toolkit.serve.logs import Line
    from toolkit.serve.record import Record

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

_SHOWN = 10
"""Ports in a hint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line of `toolkit logs`."""

    name: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Only lines about this model and its steps.",
            autocompletion=complete_models,
        ),
    ] = None
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new lines until the service ends.")
    ] = False
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="Last lines to print. 0: all of them.")
    ] = 100
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Only lines since then: 30s, 10m, 2h or 1d ago, or a time such as "
            "2026-01-31T12:00.",
        ),
    ] = None
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Port of the service, which may have ended. Default: the only running service, "
            "otherwise the last one.",
        ),
    ] = None


@takes(Options)
def logs(options: Options) -> None:
    """Print the logs of a service: its own, the gateway's, Triton's and each model's, by time.

    The logs of a service are kept until one is started on the same port.

    Examples:

        toolkit logs

        toolkit logs -f smollm2-135m-instruct

        toolkit logs --since 10m -n 0
    """
    from toolkit.serve import logs as reader

    since = _moment(options.since) if options.since is not None else 0.0
    folder, record = _place(options.port)
    selection = reader.Selection(
        options.lines or None,
        since,
        _models(options.name, folder, record) if options.name else frozenset(),
    )
    followed = reader.Followed(folder, selection)
    followed.begin()  # before the others are read: none is lost in between
    for line in reader.read(folder, selection):
        _print(line)
    if options.follow and record is not None:
        for line in reader.follow(followed, lambda: record.alive):
            _print(line)
        say(f"the service on port {record.port} has ended")
    followed.close()


def _print(line: "Line") -> None:
    """With the name of the log, as lines of several are mixed."""
    print_line((f"{line.source} | ", "dim"), line.text)


def _place(port: int | None) -> "tuple[Path, Record | None]":
    """The logs of a running or ended service. Raises ServeError if there are none."""
    from toolkit.home import home
    from toolkit.serve.record import find_service, live_records

    live = live_records()
    if live and (port is None or any(record.port == port for record in live)):
        record = find_service(port)
        return Path(record.logs), record
    folders = [path for path in (home() / "logs").glob("[0-9]*") if path.is_dir()]
    chosen = [path for path in folders if port is None or path.name == str(port)]
    if not chosen:
        what = (
            "there are no logs of services"
            if port is None
            else f"no service on port {port} has logs"
        )
        raise ServeError(what, hint=_others(folders))
    last = max(chosen, key=_started)
    say(f"the service on port {last.name} has ended; these are its last logs")
    return last, None


def _models(name: str, folder: Path, record: "Record | None") -> frozenset[str]:
    """The model and its steps. Raises ServeError for a name that is not in the repository."""
    from toolkit.names import close_models
    from toolkit.serve.logs import MODELS
    from toolkit.serve.models import family_of, public, read_configs

    configs = read_configs(Path(record.repository)) if record is not None else {}
    if family := family_of(name, configs):
        return frozenset(family)
    logged = {path.stem for path in (folder / MODELS).glob("*.log")}
    if steps := {each for each in logged if each == name or each.startswith(f"{name}.")}:
        return frozenset({name, *steps})
    known = sorted({*configs, *logged, *(each.rpartition(".")[0] or each for each in logged)})
    aliases = [alias for each in public(list(configs.values())) for alias in each.aliases]
    near = close_models(name, [*known, *aliases], 1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known) or 'none'}"
    raise ServeError(f"no model '{name}' has logs", hint=hint)


def _moment(text: str) -> float:
    """Seconds since 1970, of a time in ISO 8601 or of an age such as `10m`. Raises UsageError for
    any other text."""
    if found := re.fullmatch(r"(\d{1,9})([smhd])", text):
        return time.time() - int(found[1]) * _UNITS[found[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"--since '{text}' is not a time", hint="for example 10m, 2h or 2026-01-31T12:00"
        ) from None


def _started(folder: Path) -> float:
    """When the service started: a start removes the old logs from its folder."""
    return folder.stat().st_mtime


def _others(folders: list[Path]) -> str:
    """A hint that names the ports of the latest services; each port that was used has a folder."""
    latest = sorted(folders, key=_started, reverse=True)
    if not latest:
        return "toolkit serve"
    more = f" and {len(latest) - _SHOWN} more" if len(latest) > _SHOWN else ""
    return f"there are logs of: {', '.join(path.name for path in latest[:_SHOWN])}{more}"
