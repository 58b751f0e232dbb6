"""`toolkit cache`: what the toolkit keeps on disk, and deleting what is unused."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.options import Json, takes
from toolkit.cli.output import print_json, print_line, print_table, say
from toolkit.cli.sizes import age, size
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from toolkit.caching import Entry
    from toolkit.spec import Spec

cache = typer.Typer(
    help="List or delete cached downloads, weights and environments.", no_args_is_help=True
)
_DEFAULT = Path("models.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class List:
    """The command line of `toolkit cache list`."""

    models: Annotated[
        Path,
        typer.Option("--models", "-m", help="The models.yaml whose weights count as used."),
    ] = _DEFAULT
    as_json: Json = False


@cache.command("list")
@takes(List)
def list_(options: List) -> None:
    """List what is cached, the largest first: its size, its last use, and what uses it.

    Examples:

        toolkit cache list

        toolkit cache list --json
    """
    from toolkit.caching import list_entries
    from toolkit.home import home

    entries = list_entries(_spec(options.models))
    if options.as_json:
        print_json({"home": str(home()), "entries": [entry.as_json() for entry in entries]})
        return
    columns = ("entry", "size", "last use", "what", "used by")
    print_table(columns, [_row(entry) for entry in entries], right=("size",))
    say(f"{home()}: {size(sum(entry.size_bytes for entry in entries))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune(List):
    """The command line of `toolkit cache prune`."""

    older_than: Annotated[
        str, typer.Option(help="Only entries that were not used for this long: 12h, 30d or 2w.")
    ] = "0s"
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this kind: sources, weights, wheels, downloads, environments, triton or "
            "logs; may be repeated."
        ),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be deleted; delete nothing.")
    ] = False


@cache.command("prune")
@takes(Prune)
def prune_(options: Prune) -> None:
    """Delete entries that are unused: by models.yaml, repositories and running processes.

    Everything can be downloaded or built again.

    Examples:

        toolkit cache prune --dry-run

        toolkit cache prune --older-than 30d --kind downloads --kind logs
    """
    from toolkit.caching import list_entries, parse_age, prune
    from toolkit.caching.entries import KINDS

    kinds = options.kind or []
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise UsageError(
            f"the kind '{unknown[0]}' does not exist", hint=f"kinds: {', '.join(KINDS)}"
        )
    # before the entries are listed, which reads the whole home
    older_than_s = parse_age(options.older_than)
    entries = list_entries(_spec(options.models))
    result = prune(entries, older_than_s=older_than_s, kinds=kinds, dry_run=options.dry_run)
    if options.as_json:
        print_json(
            {
                "dry_run": options.dry_run,
                "size_bytes": result.size_bytes,
                "removed": [entry.as_json() for entry in result.removed],
                "kept": [{"name": entry.name, "reason": reason} for entry, reason in result.kept],
            }
        )
    else:
        for entry in result.removed:
            print_line(f"{entry.name}\t{size(entry.size_bytes)}")
    word = "would free" if options.dry_run else "freed"
    say(f"{word} {size(result.size_bytes)}; kept {len(result.kept)} entries")


def _spec(models: Path) -> "Spec | None":
    from toolkit.spec import load

    # a file that was named must exist; the default one may be missing
    return load(models) if models.exists() or models != _DEFAULT else None


def _row(entry: "Entry") -> tuple[str, ...]:
    idle = age(time.time() - entry.last_use)
    return entry.name, size(entry.size_bytes), idle, entry.about, ", ".join(entry.uses) or "-"
