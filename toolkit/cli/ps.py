"""`toolkit ps`: the running services of this user and what their models do."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolkit.cli.options import Json, takes
from toolkit.cli.output import print_json, print_table, say
from toolkit.cli.sizes import size

if TYPE_CHECKING:
    from toolkit.serve.record import Record

_COLUMNS = ("port", "model", "kind", "state", "size", "running", "tokens/s", "until")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line of `toolkit ps`."""

    every: Annotated[
        bool, typer.Option("--all", "-a", help="Also list models that are not loaded.")
    ] = False
    as_json: Json = False


@takes(Options)
def ps(options: Options) -> None:
    """List your running services and their models.

    `size` is that of the model's files; `running` counts requests that run or wait, `tokens/s` is
    the mean of the last answers, and `until` is when an idle model is unloaded.

    Examples:

        toolkit ps

        toolkit ps --all --json
    """
    from toolkit.serve.record import live_records

    services = [_service(record, options.every) for record in live_records()]
    if options.as_json:
        print_json(services)
        return
    if not services:
        say("no service is running; start one: toolkit serve")
    print_table(_COLUMNS, [row for each in services for row in _rows(each)], right=("running",))


def _service(record: "Record", every: bool) -> dict[str, Any]:
    """One service as JSON; `error` says why its models are not known."""
    from toolkit.errors import ServeError

    # only the record: a service that does not answer is listed, too
    known = {"port": record.port, "pid": record.pid, "state": record.state}
    known |= {"url": record.url or None, "repository": record.repository, "logs": record.logs}
    try:
        return known | {"models": list(_models(record, every))}
    except ServeError as error:
        return known | {"models": [], "error": error.message}


def _models(record: "Record", every: bool) -> Iterator[dict[str, Any]]:
    from toolkit.cli.status import state
    from toolkit.serve.activity import Activity, activity_of
    from toolkit.serve.connection import connected
    from toolkit.serve.control import Control, steps_of

    with connected(record.address) as api:
        control = Control(api, Path(record.repository))
        models = control.models()
    activity = activity_of(record)
    for model in models.values():
        if not model.public:
            continue
        shown = state(model)
        # always listed: a request would load it
        if shown == "not loaded" and model.served.is_on_demand:
            shown = "loaded on demand"
        elif shown == "not loaded" and not every:
            continue
        does = (activity or {}).get(model.name, Activity())
        family = [model.name, *steps_of(model.config)]
        yield {
            "model": model.name,
            "kind": model.served.kind or None,
            "state": shown,
            # weights are hard links into the cache, so the sum is not what unloading frees on disk
            "size_bytes": sum(_size(Path(record.repository, each)) for each in family) or None,
            # unknown is not 0: the gateway may be restarting
            "running": None if activity is None else does.running,
            "tokens_per_s": does.tokens_per_s,
            "first_token_s": does.first_token_s,
            "expires_s": does.expires_s,
        }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _rows(service: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A row for each model; one for a service whose models are not known yet."""
    port = str(service["port"])
    if not service["models"]:
        yield port, "-", "-", service.get("error") or service["state"], "-", "-", "-", "-"
    for model in service["models"]:
        rate, running = model["tokens_per_s"], model["running"]
        yield (
            port,
            model["model"],
            model["kind"] or "-",
            model["state"],
            size(model["size_bytes"]) if model["size_bytes"] else "-",
            "-" if running is None else str(running),
            "-" if rate is None else f"{rate:.1f}",
            "in use" if running else _until(model),
        )


def _until(model: dict[str, Any]) -> str:
    if not model["state"].startswith("ready"):
        return "-"
    if model["expires_s"] is None:
        return "always"
    left_s = max(0.0, model["expires_s"] - time.time())
    return f"{left_s:.0f} s" if left_s < 120 else f"{left_s / 60:.0f} min"
