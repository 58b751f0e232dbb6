"""`triton-gateway keys`: the keys of the gateway's callers, in the database or in a key file."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frontend.accounts.keyfile import add_key, list_keys, remove_key
from frontend.accounts.keys import KeyFileError
from frontend.accounts.roles import FILE_ROLES
from frontend.commands.accounts import run_command
from frontend.commands.parser import Parser
from frontend.commands.stored_keys import add_commands, add_list

_DEFAULT = Path("gateway.keys")


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code: 0, or 2 for a file or argument that is invalid."""
    options = _parser().parse_args(arguments)
    try:
        on_file = options.run
        if on_file is None and getattr(options, "file", None) is not None:
            # `list --file` shares its parser with the database's `list`
            on_file = _list
        if on_file is None:
            return run_command(options)
        on_file(options)
    except KeyFileError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="triton-gateway keys",
        description="Create, list, rotate and revoke the keys of the gateway's callers: in the"
        " database, or with `add`, `remove` and `list --file` in a key file.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    parser.set_defaults(run=None)
    add_commands(commands)
    listed = add_list(commands)
    listed.add_argument("-f", "--file", type=Path, help="list this key file instead")
    add = _command(commands, "add", "create a key in a key file and print it once")
    add.add_argument("name", help="the key's owner; appears in the gateway's log")
    add.add_argument(
        "--role",
        choices=list(FILE_ROLES),
        default="user",
        help="user (default), or admin: may also load and unload models",
    )
    add.set_defaults(run=_add)
    remove = _command(commands, "remove", "remove a key from a key file")
    remove.add_argument("name", help="the key's owner")
    remove.set_defaults(run=_remove)
    return parser


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    command.add_argument(
        "-f", "--file", type=Path, default=_DEFAULT, help=f"the key file (default: {_DEFAULT})"
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    return command


def _add(options: argparse.Namespace) -> None:
    secret = add_key(options.file, options.name, options.role)
    made = {"name": options.name, "role": options.role, "key": secret}
    sys.stdout.write((json.dumps(made) if options.json else secret) + "\n")
    sys.stderr.write(
        f"Added to {options.file}. A running gateway accepts the key within seconds."
        " The key cannot be shown again.\n"
    )


def _list(options: argparse.Namespace) -> None:
    keys = list_keys(options.file)
    if options.json:
        shown = [{"name": key.name, "role": key.role} for key in keys]
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
        return
    width = max([len(key.name) for key in keys], default=0)
    for key in keys:
        sys.stdout.write(f"{key.name:<{width}}  {key.role:<5}  sha256:{key.digest.hex()[:12]}…\n")


def _remove(options: argparse.Namespace) -> None:
    remove_key(options.file, options.name)
    if options.json:
        sys.stdout.write(json.dumps({"removed": options.name}) + "\n")
    sys.stderr.write(f"Removed the key of '{options.name}' from {options.file}.\n")
