"""Shared parts of the commands for accounts: options, database, names for ids, and printing.

The commands run on the gateway's machine with all rights, and call the same code as the admin API.
"""

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from frontend.commands.database import DatabaseError, add_options, counters_of, location_of, run
from frontend.commands.parser import Parser
from frontend.errors import GatewayError, StoreUnavailable

if TYPE_CHECKING:
    from frontend.accounts.directory.directory import Directory
    from frontend.store.database import Database

Shown = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """The output of a command: rows with these columns, or a secret. `--json` prints all of it."""

    shown: Shown | list[Shown]
    columns: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)
    note: str = ""


_NO_CHANGES = {"help", "json", "database_url", "data_directory", "revision"}
"""Options of an edit that change nothing."""
Work = Callable[["Directory", argparse.Namespace], Awaitable[Answer]]


def parser_of(name: str, text: str) -> tuple[Parser, Any]:
    """A command and the place for its own commands."""
    parser = Parser(prog=f"triton-gateway {name}", description=text)
    return parser, parser.add_subparsers(required=True, metavar="COMMAND")


def add_command(
    commands: Any, name: str, text: str, work: Work, *, edits: bool = False
) -> argparse.ArgumentParser:
    """One command on accounts. `edit`, and one that `edits`, needs an option that says what."""
    description = f"{text[0].upper()}{text[1:]}."
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=description)
    set_work(parser, work)
    if edits or name == "edit":
        parser.set_defaults(edits=parser)
    return parser


def set_work(parser: argparse.ArgumentParser, work: Work) -> None:
    """Makes a parser a command on accounts."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_options(parser)
    parser.set_defaults(work=work)


def run_command(options: argparse.Namespace) -> int:
    """Runs the command that was parsed; returns its exit code: 0, 1, or 2 for invalid input."""
    from frontend.accounts.directory.directory import Directory
    from frontend.store.migrate import prepare

    _check_changes(options)

    async def work(database: "Database") -> int:
        counters = counters_of(options)
        # commands may be the first to use a new database
        await prepare(database)
        directory = Directory.of(database, counters)
        await directory.roles.seed()
        try:
            answer = await options.work(directory, options)
        except StoreUnavailable:
            raise
        except GatewayError as error:
            sys.stderr.write(f"error: {error.message}\n")
            return 2 if error.status == 400 else 1
        finally:
            if counters is not None:
                await counters.close()
        _print(answer, as_json=options.json)
        return 0

    try:
        return run(location_of(options), work, any_revision=True)
    except DatabaseError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def _check_changes(options: argparse.Namespace) -> None:
    """Exits with 2 if an edit has no option that says what to change."""
    parser: Parser | None = getattr(options, "edits", None)
    if parser is None:
        return
    flags = {dest: flag for dest, flag in parser.flags().items() if dest not in _NO_CHANGES}
    if all(getattr(options, dest) == parser.get_default(dest) for dest in flags):
        what = ", ".join(flags.values())
        parser.refuse("nothing to change", f"add one or more of {what}")


def _print(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(answer.shown, indent=2) + "\n")
    elif answer.secret:
        sys.stdout.write(f"{answer.secret}\n")
    else:
        rows = answer.shown if isinstance(answer.shown, list) else [answer.shown]
        for line in _table(rows, answer.columns):
            sys.stdout.write(f"{line}\n")
    if answer.note:
        # on stderr, so that the output is only the secret and can be piped
        sys.stderr.write(f"{answer.note}\n")


def _table(rows: Sequence[Shown], columns: Sequence[str]) -> list[str]:
    if not rows or not columns:
        return []
    cells = [list(columns), *([_cell(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options of an edit that were given."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def weight(text: str) -> int:
    """A share in the scheduler, for argparse."""
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a whole number from 1 to 1000")
    return int(text)
