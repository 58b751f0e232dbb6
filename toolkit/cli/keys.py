"""`toolkit keys`: who may call the gateway."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from toolkit.cli.endpoint import Json
from toolkit.serve.keys import add_key, read_keys, remove_key

keys = typer.Typer(help="Create, list and revoke the keys of the gateway's clients.")

_File = Annotated[Path, typer.Option("--file", "-f", help="The file of keys; holds no secrets.")]
_DEFAULT = Path("gateway.keys")


@keys.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Whose key it is; appears in the gateway's log.")],
    role: Annotated[str, typer.Option(help="user, or admin: may load and unload models.")] = "user",
    file: _File = _DEFAULT,
    as_json: Json = False,
) -> None:
    """Make a key and print it, once: the file keeps only its digest.

    Examples:

        toolkit keys add ada

        toolkit keys add ops --role admin --file /etc/triton-toolkit/gateway.keys
    """
    secret = add_key(file, name, role)
    typer.echo(json.dumps({"name": name, "role": role, "key": secret}) if as_json else secret)
    told = f"in {file}; a running gateway knows it within seconds. It cannot be shown again."
    Console(stderr=True, highlight=False).print(told, soft_wrap=True)


@keys.command("list")
def list_(
    file: _File = _DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print the keys as JSON.")] = False,
) -> None:
    """List whose keys there are.

    Examples:

        toolkit keys list --json
    """
    found = read_keys(file)
    if as_json:
        typer.echo(json.dumps([{"name": key.name, "role": key.role} for key in found], indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "role", "digest"):
        table.add_column(column, overflow="fold")
    for key in found:
        table.add_row(key.name, key.role, key.digest[:19] + "…")
    Console(highlight=False).print(table)


@keys.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="Whose key.")],
    file: _File = _DEFAULT,
    as_json: Json = False,
) -> None:
    """Take a key back: a running gateway refuses it within seconds.

    Examples:

        toolkit keys remove ada
    """
    remove_key(file, name)
    if as_json:
        typer.echo(json.dumps({"removed": name}))
    Console(stderr=True, highlight=False).print(f"{name}'s key is no longer in {file}")
