"""`toolkit pull`: fetch weights ahead of a build, see what is here, check that it is whole."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from toolkit.cli.progress import console_progress
from toolkit.cli.sizes import size
from toolkit.errors import SourceError, SpecError, ToolkitError
from toolkit.fields.source import parse_source
from toolkit.progress import Progress
from toolkit.spec import Source, load
from toolkit.weights.fetch import UrlSource, fetch
from toolkit.weights.known import KNOWN
from toolkit.weights.sources import Fetched
from toolkit.weights.state import Standing, State, size_of, spec_sources, standings

_PARALLEL = 3
_STYLES = {State.HERE: "green", State.PARTIAL: "yellow", State.CORRUPTED: "bold red"}


class _Download(TyperGroup):
    """`toolkit pull [SOURCE…]` means `toolkit pull download [SOURCE…]`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = [each for each in args if not each.startswith("-")]
        asks_help = args[:1] in (["--help"], ["-h"])
        if not asks_help and (not words or words[0] not in self.commands):
            args = ["download", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


pull = typer.Typer(
    cls=_Download,
    help="Download model weights into the cache.\n\nWithout a source, downloads what models.yaml "
    "needs.",
)
_Models = Annotated[Path, typer.Option("--models", "-m", help="The catalogue.")]
_DEFAULT = Path("models.yaml")


@pull.command("list-available")
def list_available(
    models: _Models = _DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List what the catalogue needs and whether it is here, and packages known to carry weights.

    Asks no network.

    Examples:

        toolkit pull list-available

        toolkit pull list-available --models other.yaml --json
    """
    needed = standings(load(models)) if models.exists() or models != _DEFAULT else []
    wanted = {each.source for each in needed}
    offered = [each for each in KNOWN if each.source not in wanted]
    if as_json:
        told = {
            "needed": [_standing_json(each) for each in needed],
            "offered": [
                {
                    "source": each.source,
                    "kind": each.kind,
                    "about": each.about,
                    "license": each.license,
                    "size_bytes": each.size_bytes,
                }
                for each in offered
            ],
        }
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False)
    console.print(_table(needed))
    for each in offered:
        console.print(f"\n{each.source}", soft_wrap=True, markup=False)
        console.print(
            f"  {each.kind}: {each.about}, {each.license}, {size(each.size_bytes)}", soft_wrap=True
        )


@pull.command("download")
def download(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="Sources as models.yaml writes them, or https addresses of files. Default: all of "
            "the catalogue.",
        ),
    ] = None,
    models: _Models = _DEFAULT,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Only this model of the catalogue; may be repeated."),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(help="The digest that a single https file must have, in hex.")
    ] = None,
    allow_pickle: Annotated[
        bool,
        typer.Option(
            "--allow-pickle",
            help="Also take files that run code when they are loaded. Builds use none of them.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is here as JSON.")] = False,
) -> None:
    """Fetch weights into the cache: resumed, several at a time, checked before they count.

    Stopped downloads go on where they stopped. A build afterwards needs no network.

    Examples:

        toolkit pull

        toolkit pull --only smollm2-135m-instruct

        toolkit pull hf:HuggingFaceTB/SmolLM2-360M-Instruct

        toolkit pull https://example.org/model.gguf --sha256 0f3c…
    """
    wanted = _wanted(sources or [], models, only or [], sha256)
    folder = models.absolute().parent
    with console_progress(Console(stderr=True)) as progress:
        found = _fetch_all(wanted, folder, progress, allow_pickle)
    if as_json:
        told = [
            {"name": name, "path": str(each.path), "digest": each.digest}
            for name, each in found.items()
        ]
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        for name, each in found.items():
            typer.echo(f"{name}\t{size(size_of(each.path))}\t{each.path}")


@pull.command("check")
def check(
    models: _Models = _DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Read every byte of the catalogue's weights, and compare it with the digest it came with.

    Exit status: 0 all are here and whole, 1 some are not, 2 wrong use.

    Examples:

        toolkit pull check

        toolkit pull check --json
    """
    with console_progress(Console(stderr=True)) as progress, progress.step("check weights"):
        found = standings(load(models), verify=True)
    if as_json:
        typer.echo(json.dumps([_standing_json(each) for each in found], indent=2))
    else:
        Console(highlight=False).print(_table(found))
    bad = [each for each in found if each.state is not State.HERE]
    if bad:
        broken = any(each.state is State.CORRUPTED for each in bad)
        raise SourceError(
            f"{len(bad)} of {len(found)} models have no whole weights: "
            + ", ".join(each.name for each in bad),
            hint="remove the corrupted folders, then toolkit pull" if broken else "toolkit pull",
        )


def _wanted(
    sources: list[str], models: Path, only: list[str], sha256: str | None
) -> dict[str, Source | UrlSource]:
    if sources:
        if only:
            raise SourceError("--only names models of the catalogue, and sources were given too")
        if sha256 is not None and (len(sources) > 1 or not _is_url(sources[0])):
            raise SourceError("--sha256 goes with one https address")
        return {text: _parse(text, sha256) for text in sources}
    needed = spec_sources(load(models))
    if unknown := sorted(set(only) - set(needed)):
        raise SourceError(
            f"{models} has no model '{unknown[0]}'", hint=f"it has {', '.join(needed)}"
        )
    return {name: each.source for name, each in needed.items() if not only or name in only}


def _is_url(text: str) -> bool:
    return text.startswith(("https://", "http://"))


def _parse(text: str, sha256: str | None) -> Source | UrlSource:
    if _is_url(text):
        return UrlSource(text, sha256)
    try:
        return parse_source(text)
    except ValueError as error:
        raise SourceError(str(error), hint="or an https address of one file") from error


def _fetch_all(
    wanted: dict[str, Source | UrlSource], folder: Path, progress: Progress, allow_pickle: bool
) -> dict[str, Fetched]:
    """All sources, a few at a time; every failure is told when all others are done."""

    def one(source: Source | UrlSource) -> Fetched | ToolkitError:
        try:
            return fetch(source, folder, progress, allow_pickle=allow_pickle)
        except SpecError:
            raise
        except ToolkitError as error:
            return error

    with ThreadPoolExecutor(_PARALLEL) as pool:
        results = dict(zip(wanted, pool.map(one, wanted.values()), strict=True))
    failed = {name: each for name, each in results.items() if isinstance(each, ToolkitError)}
    if failed:
        hints = [each.hint for each in failed.values() if each.hint]
        raise SourceError(
            "\n".join(f"{name}: {each.message}" for name, each in failed.items()),
            hint=hints[0] if hints else None,
        )
    return {name: each for name, each in results.items() if isinstance(each, Fetched)}


def _table(found: list[Standing]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("model", "state", "size", "source"):
        table.add_column(column, justify="right" if column == "size" else "left", overflow="fold")
    for each in found:
        style = _STYLES.get(each.state, "")
        state = f"[{style}]{each.state}[/]" if style else str(each.state)
        note = f" ({each.note})" if each.note else ""
        table.add_row(each.name, state, size(each.size_bytes), f"{each.source}{note}")
    return table


def _standing_json(each: Standing) -> dict[str, object]:
    return {
        "name": each.name,
        "source": each.source,
        "state": str(each.state),
        "size_bytes": each.size_bytes,
        "path": str(each.path) if each.path else None,
        "digest": each.digest,
        "note": each.note,
    }
