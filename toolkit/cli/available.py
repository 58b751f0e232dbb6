"""`toolkit list-available`: models that can be run, served or built by name."""

import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.options import Json, machine_of, takes
from toolkit.cli.output import print_json, print_table, say
from toolkit.cli.sizes import size
from toolkit.contract import INTERFACES

if TYPE_CHECKING:
    from toolkit.catalogue import Available
    from toolkit.fit.available import Room, Verdict

_COLUMNS = (
    "name", "kind", "parameters", "size", "context", "needs", "fits", "weights", "license", "about"
)  # fmt: skip
_LEAST_NEEDED = ("about", "needs", "context", "license")
_COUNTS = (("B", 10**9), ("M", 10**6), ("K", 10**3))


Kind = StrEnum("Kind", list(INTERFACES))  # type: ignore[misc]  # mypy needs literal names


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `toolkit list-available`."""

    context: typer.Context
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT]...", help="Only models whose name or description contains each text."
        ),
    ] = None
    kind: Annotated[
        list[Kind] | None, typer.Option(help="Only models of this kind; may be repeated.")
    ] = None
    fits: Annotated[bool, typer.Option("--fits", help="Only models that fit on this machine.")] = (
        False
    )
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="Only models that need no network, or only the package registry.",
        ),
    ] = False
    gpus: Annotated[
        str | None,
        typer.Option(help="GPUs to check for, such as h100:2 or 24GiB; `none` for no GPU."),
    ] = None
    memory: Annotated[
        str | None,
        typer.Option(
            help="Host memory to check for, such as 64GiB. Default: the free memory of this"
            " machine."
        ),
    ] = None
    as_json: Json = False


@takes(Options)
def list_available(options: Options) -> None:
    """List models that can be run by name.

    The names work in `toolkit run`, `toolkit serve` and as `source` in models.yaml; any other
    model of the Hugging Face Hub works as hf:ORG/NAME. Uses no network. Whether a model fits is
    estimated for 16 bit weights, the default context and what is free now.

    Examples:

        toolkit list-available --fits

        toolkit list-available qwen tools --kind llm

        toolkit list-available --gpus h100:2 --memory 256GiB --json
    """
    from toolkit.catalogue import catalogue
    from toolkit.fit.available import judge
    from toolkit.names import close_models

    room = _room(options)
    query = " ".join(options.words or ())
    rows = []
    for model in catalogue().values():
        verdict, weights = judge(model, room), _weights(model)
        hidden = bool(options.kind) and model.kind not in (options.kind or ())
        hidden |= options.fits and not verdict.fits
        hidden |= options.offline and weights == "hub"
        if not hidden and model.holds(query):
            rows.append((model, verdict, weights))
    if options.as_json:
        print_json([_as_json(*row) for row in rows])
        return
    _show(rows)
    if not rows:
        near = close_models(query, catalogue()) if query else []
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        say(f"no model matches; {meant}`toolkit list-available` without filters shows all")


def show_offers(models: "Iterable[Available]") -> None:
    """A table without a verdict about a machine."""
    rows = [
        [model.name, model.kind, count(model.parameters), size(model.size_bytes), model.license]
        for model in models
    ]
    columns = ("name", "kind", "parameters", "size", "license")
    print_table(columns, rows, right=("parameters", "size"))


def offer_json(model: "Available") -> dict[str, object]:
    """The facts about a model, without those that only estimates use."""
    hidden = {"cache", "width", "pixels", "settings"}
    return {name: value for name, value in asdict(model).items() if name not in hidden}


def count(number: int) -> str:
    """`1.54B`, `134M`."""
    for unit, factor in _COUNTS:
        if number >= factor:
            value = number / factor
            return f"{value:.0f}{unit}" if value >= 100 else f"{value:.3g}{unit}"
    return str(number)


def _show(rows: "list[tuple[Available, Verdict, str]]") -> None:
    lines = [
        {
            "name": model.name,
            "kind": model.kind,
            "parameters": count(model.parameters),
            "size": size(model.size_bytes),
            "context": str(model.context_length or "-"),
            "needs": size(verdict.need_bytes),
            "fits": verdict.place or "no",
            "weights": f"{weights}, gated" if model.gated and weights == "hub" else weights,
            "license": model.license,
            "about": model.about,
        }
        for model, verdict, weights in rows
    ]
    columns = _columns(lines)
    print_table(
        columns,
        [[line[name] for name in columns] for line in lines],
        right=("parameters", "size", "context", "needs"),
    )


def _columns(lines: list[dict[str, str]]) -> list[str]:
    """All that fit the terminal side by side; a pipe gets all of them."""
    columns = list(_COLUMNS)
    # scripts count columns, so a pipe always gets the same ones
    if not sys.stdout.isatty():
        return columns
    room = shutil.get_terminal_size().columns
    # columns go one by one, until the rest fits side by side
    for name in _LEAST_NEEDED:
        widths = (max([len(each), *(len(line[each]) for line in lines)]) + 2 for each in columns)
        if sum(widths) - 2 <= room:
            break
        columns.remove(name)
    return columns


def _as_json(model: "Available", verdict: "Verdict", weights: str) -> dict[str, object]:
    return offer_json(model) | {
        "weights": weights,
        "fits": verdict.fits,
        "place": verdict.place or None,
        "need_bytes": verdict.need_bytes,
    }


def _weights(model: "Available") -> str:
    """`here`, `package` (the package registry) or `hub`."""
    from toolkit.fields.source import GgufSource, parse_source
    from toolkit.weights.state import local_place

    source = parse_source(model.source)
    inner = source.file if isinstance(source, GgufSource) else source
    # sources of the catalogue are never relative, so the folder does not matter
    place = local_place(inner, Path())
    if place is not None and place.exists():
        return "here"
    return "package" if model.in_package else "hub"


def _room(options: Options) -> "Room":
    from toolkit.fit.available import Room
    from toolkit.fit.devices import devices_of, parse_gpus, parse_size
    from toolkit.machine import list_gpus, memory_bytes

    machine = machine_of(options.context)
    if options.gpus is not None:
        devices = parse_gpus(options.gpus)
    else:
        devices = devices_of(list_gpus(machine))
    memory = options.memory
    host = parse_size(memory) if memory else memory_bytes(machine).available_bytes
    return Room(host, devices)
