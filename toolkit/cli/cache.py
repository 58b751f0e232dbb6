"""`toolkit cache`: what is kept in the toolkit's home, and removing what nothing uses."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from toolkit.caching import Entry, list_entries, parse_age, prune
from toolkit.caching.entries import KINDS
from toolkit.cli.sizes import age, size
from toolkit.errors import RepositoryError
from toolkit.home import home
from toolkit.spec import Spec, load

cache = typer.Typer(help="List or delete cached downloads, weights and environments.")

_Models = Annotated[
    Path,
    typer.Option("--models", "-m", help="The catalogue whose use counts, if the file is there."),
]
_DEFAULT = Path("models.yaml")


@cache.command("list")
def list_(
    models: _Models = _DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print the entries as JSON.")] = False,
) -> None:
    """List what is kept: size, last use, and what uses it, the largest first.

    Examples:

        toolkit cache list

        toolkit cache list --json
    """
    entries = list_entries(_spec(models))
    if as_json:
        told = {"home": str(home()), "entries": [entry.as_json() for entry in entries]}
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("entry", "size", "last use", "what", "used by"):
        table.add_column(column, justify="right" if column == "size" else "left", overflow="fold")
    for entry in entries:
        table.add_row(*_row(entry))
    Console(highlight=False).print(table)
    total = size(sum(entry.size_bytes for entry in entries))
    Console(stderr=True, highlight=False).print(f"{home()}: {total}", soft_wrap=True)


@cache.command("prune")
def prune_(
    models: _Models = _DEFAULT,
    older_than: Annotated[
        str, typer.Option(help="Only what nobody used for so long: 30d, 12h, 2w.")
    ] = "0s",
    kind: Annotated[
        list[str] | None, typer.Option(help=f"Only this kind; may be repeated: {', '.join(KINDS)}.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what went as JSON.")] = False,
) -> None:
    """Remove what neither the catalogue, nor a repository, nor a process, nor the toolkit uses.

    Everything can be made again from its source.

    Examples:

        toolkit cache prune --dry-run

        toolkit cache prune --older-than 30d --kind downloads --kind logs
    """
    kinds = kind or []
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise RepositoryError(f"no kind '{unknown[0]}'", hint=f"kinds: {', '.join(KINDS)}")
    found = list_entries(_spec(models))
    result = prune(found, older_than_s=parse_age(older_than), kinds=kinds, dry_run=dry_run)
    if as_json:
        told = {
            "dry_run": dry_run,
            "size_bytes": result.size_bytes,
            "removed": [entry.as_json() for entry in result.removed],
            "kept": [{"name": entry.name, "reason": reason} for entry, reason in result.kept],
        }
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        for entry in result.removed:
            typer.echo(f"{entry.name}\t{size(entry.size_bytes)}")
    word = "would free" if dry_run else "freed"
    Console(stderr=True, highlight=False).print(
        f"{word} {size(result.size_bytes)}; {len(result.kept)} entries stay", soft_wrap=True
    )


def _spec(models: Path) -> Spec | None:
    return load(models) if models.exists() or models != _DEFAULT else None


def _row(entry: Entry) -> tuple[str, ...]:
    idle = age(time.time() - entry.last_use)
    return entry.name, size(entry.size_bytes), idle, entry.about, ", ".join(entry.uses) or "-"
