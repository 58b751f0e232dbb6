"""`triton-gateway migrate`: brings the database's tables to the revision of this release."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from frontend.commands.database import DatabaseError, add_options, location_of, run
from frontend.commands.parser import Parser

if TYPE_CHECKING:
    from frontend.store.database import Database
    from frontend.store.location import Location


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code: 0, 1 when it failed, 2 for invalid arguments.

    With `--check`: 3 when the tables are not those of this release.
    """
    options = _parser().parse_args(arguments)
    from frontend.store.migrate import current_revision, downgrade, upgrade

    try:
        location = location_of(options)
        if location.is_sqlite and not location.file.exists():
            _make(location, options)
    except DatabaseError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2

    async def work(database: "Database") -> int:
        if options.check:
            return await _check(database)
        if options.down is not None:
            before = await downgrade(database, options.down)
        else:
            before = await upgrade(database)
        after = await current_revision(database)
        same = before == after
        moved = f"already has revision {after}" if same else f"revision {before} -> {after}"
        sys.stderr.write(f"{location}: {moved}\n")
        return 0

    return run(location, work, any_revision=True)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="triton-gateway migrate",
        description="Migrate the database to the revision that this release needs. Stop the"
        " gateways"
        " and make a backup first: `triton-gateway backup`.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--check", action="store_true", help="change nothing; exit with 3 if a migration is needed"
    )
    what.add_argument(
        "--down",
        metavar="REVISION",
        help="go back to an older revision, for an older release; 'base' removes all tables",
    )
    add_options(parser)
    return parser


def _make(location: "Location", options: argparse.Namespace) -> None:
    if options.check or options.down is not None:
        raise DatabaseError(f"{location} does not exist; run `triton-gateway migrate`")
    from frontend.store.database import make_file

    try:
        make_file(location)
    except OSError as error:
        raise DatabaseError(f"cannot create {location}: {error.strerror}") from None


async def _check(database: "Database") -> int:
    from frontend.store.migrate import State, current_revision, revisions, state_of

    revision = await current_revision(database)
    state = state_of(revision)
    sys.stdout.write(f"{state}: revision {revision}, this release needs {revisions()[-1]}\n")
    return 0 if state is State.CURRENT else 3
