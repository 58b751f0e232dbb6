"""`toolkit pull`: download weights before a build, list them, check that they are complete."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from toolkit.cli.commands import SETTINGS
from toolkit.cli.options import Json, takes
from toolkit.cli.output import print_json, print_line, print_table
from toolkit.cli.progress import console_progress
from toolkit.cli.sizes import size
from toolkit.errors import SourceError, UsageError

if TYPE_CHECKING:
    from toolkit.spec import Source
    from toolkit.weights.fetch import UrlSource
    from toolkit.weights.state import Standing

_DEFAULT = Path("models.yaml")


class _Download(TyperGroup):
    """`toolkit pull [SOURCE…]` means `toolkit pull download [SOURCE…]`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # options come after a command, so one at the beginning is an option of `download`; what
        # follows may be its value, as in `--only check`
        first = args[0] if args and not args[0].startswith("-") else ""
        if first not in self.commands and args[:1] not in (["--help"], ["-h"]):
            # every source but a catalogue name has a colon, so this may be a misspelt command
            if ":" not in first and (near := get_close_matches(first, self.commands)):
                raise UsageError(
                    f"'{first}' is neither a command nor a source",
                    hint=f"did you mean '{near[0]}'?",
                )
            args = ["download", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The commands, and the options of the one that is meant when none is named."""
        super().format_help(ctx, formatter)
        command: Any = self.commands["download"]
        context = typer.Context(command, info_name="download", parent=ctx, **SETTINGS)
        command.format_help(context, formatter)


pull = typer.Typer(
    cls=_Download,
    help="Download model weights into the cache.\n\nWithout a command, `toolkit pull [SOURCE]...` "
    "downloads, with the options of `download` below.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The options of every sub-command."""

    models: Annotated[Path, typer.Option("--models", "-m", help="The models.yaml.")] = _DEFAULT
    as_json: Json = False


@pull.command("list-available")
@takes(Models)
def list_available(options: Models) -> None:
    """List the weights that models.yaml needs, and the models that can be added by name.

    Uses no network. `toolkit list-available` has the same models, with filters.

    Examples:

        toolkit pull list-available

        toolkit pull list-available --models other.yaml --json
    """
    from toolkit.catalogue import catalogue
    from toolkit.cli.available import offer_json, show_offers
    from toolkit.spec import load
    from toolkit.weights.state import standings

    is_there = options.models.exists() or options.models != _DEFAULT
    # without a models.yaml the command still lists what can be added
    needed = standings(load(options.models)) if is_there else []
    sources = {each.source for each in needed}
    offered = [each for each in catalogue().values() if each.source not in sources]
    if options.as_json:
        print_json(
            {
                "needed": [_standing_json(each) for each in needed],
                "offered": [offer_json(each) for each in offered],
            }
        )
        return
    _show(needed)
    print_line()
    show_offers(offered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Download(Models):
    """The command line of `toolkit pull download`."""

    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="Sources in the format of models.yaml, or https addresses of files. Default: all "
            "sources of models.yaml.",
        ),
    ] = None
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Only this model of models.yaml; may be repeated."),
    ] = None
    sha256: Annotated[
        str | None, typer.Option(help="SHA-256 that a single https file must have, in hex.")
    ] = None
    allow_pickle: Annotated[
        bool,
        typer.Option(
            "--allow-pickle",
            help="Also download pickle files, which can run code when they are loaded. Builds do "
            "not use them.",
        ),
    ] = False


@pull.command("download")
@takes(Download)
def download(options: Download) -> None:
    """Download weights into the cache, several at a time, and verify them.

    Interrupted downloads are resumed. A build afterwards needs no network.

    Examples:

        toolkit pull

        toolkit pull --only smollm2-135m-instruct

        toolkit pull hf:HuggingFaceTB/SmolLM2-360M-Instruct

        toolkit pull https://example.org/model.gguf --sha256 0f3c…
    """
    from toolkit.weights.several import fetch_several
    from toolkit.weights.state import size_of

    sources = _sources(options)
    folder = options.models.absolute().parent
    with console_progress() as progress:
        fetched = fetch_several(sources, folder, progress, allow_pickle=options.allow_pickle)
    if options.as_json:
        print_json(
            [
                {"name": name, "path": str(each.path), "digest": each.digest}
                for name, each in fetched.items()
            ]
        )
        return
    for name, each in fetched.items():
        print_line(f"{name}\t{size(size_of(each.path))}\t{each.path}")


@pull.command("check")
@takes(Models)
def check(options: Models) -> None:
    """Read all weights of models.yaml and compare them with their digests.

    Exit status: 0 all are complete, 1 some are not, 2 wrong use.

    Examples:

        toolkit pull check

        toolkit pull check --json
    """
    from toolkit.spec import load
    from toolkit.weights.state import State, standings

    with console_progress() as progress, progress.step("check weights"):
        # reads every byte: sizes alone do not show a flipped bit
        weights = standings(load(options.models), verify=True)
    if options.as_json:
        print_json([_standing_json(each) for each in weights])
    else:
        _show(weights)
    bad = [each for each in weights if each.state is not State.HERE]
    if bad:
        corrupted = any(each.state is State.CORRUPTED for each in bad)
        raise SourceError(
            f"the weights of {len(bad)} of {len(weights)} models are missing or incomplete: "
            + ", ".join(each.name for each in bad),
            hint="delete the corrupted folders, then run toolkit pull"
            if corrupted
            else "toolkit pull",
        )


def _sources(options: Download) -> "dict[str, Source | UrlSource]":
    """The sources to download, by the name that messages use."""
    from toolkit.spec import load
    from toolkit.weights.state import spec_sources

    given, sha256, only = options.sources or [], options.sha256, options.only or []
    # all other sources are pinned by `digest` in models.yaml
    if sha256 is not None and not (len(given) == 1 and _is_url(given[0])):
        raise UsageError("--sha256 requires exactly one https address", hint="pass one address")
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise UsageError(f"--sha256 '{sha256}' is not a SHA-256", hint="write 64 hex digits")
    if given:
        if only:
            raise UsageError(
                "--only selects models of models.yaml and cannot be combined with sources",
                hint="pass --only or sources",
            )
        return {text: _parse(text, sha256) for text in given}
    needed = spec_sources(load(options.models))
    if unknown := sorted(set(only) - set(needed)):
        raise UsageError(
            f"{options.models} has no model '{unknown[0]}'", hint=f"it has {', '.join(needed)}"
        )
    return {name: each.source for name, each in needed.items() if not only or name in only}


def _is_url(text: str) -> bool:
    return text.startswith(("https://", "http://"))


def _parse(text: str, sha256: str | None) -> "Source | UrlSource":
    from toolkit.fields.source import parse_source
    from toolkit.weights.fetch import UrlSource

    if _is_url(text):
        # only here: models.yaml does not accept addresses, whose content may change
        return UrlSource(text, sha256)
    try:
        return parse_source(text)
    except ValueError as error:
        problem, _, forms = str(error).partition(": ")
        other = "" if forms.startswith("did you mean") else "; or an https address of one file"
        raise UsageError(problem, hint=forms + other) from error


def _show(standings: "list[Standing]") -> None:
    rows = []
    for each in standings:
        note = f" ({each.note})" if each.note else ""
        rows.append((each.name, str(each.state), size(each.size_bytes), f"{each.source}{note}"))
    print_table(("model", "state", "size", "source"), rows, right=("size",))


def _standing_json(each: "Standing") -> dict[str, object]:
    return {
        "name": each.name,
        "source": each.source,
        "state": str(each.state),
        "size_bytes": each.size_bytes,
        "path": str(each.path) if each.path else None,
        "digest": each.digest,
        "note": each.note,
    }
