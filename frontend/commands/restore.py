"""`triton-gateway restore FILE`: replaces what the database holds by a backup."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frontend.commands.database import DatabaseError, add_options, location_of, run
from frontend.commands.parser import Parser

if TYPE_CHECKING:
    from frontend.store.database import Database


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns its exit code: 0, 1 when it failed, 2 for invalid arguments."""
    parser = Parser(
        prog="triton-gateway restore",
        description="Restore the database from a backup. If that fails, nothing is changed. Stop"
        " the gateways first. A backup of SQLite can be restored into PostgreSQL, and vice"
        " versa.",
    )
    parser.add_argument("file", type=Path, help="a file of `triton-gateway backup`")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--force", action="store_true", help="replace existing data")
    what.add_argument("--check", action="store_true", help="only check that the file is complete")
    add_options(parser)
    options = parser.parse_args(arguments)
    from frontend.store.backup import BackupError, restore_backup, verify_backup
    from frontend.store.database import make_file

    try:
        header = verify_backup(options.file)
        if options.check:
            sys.stdout.write(f"{options.file}: complete, revision {header['revision']}\n")
            return 0
        location = location_of(options)
        # after the file was checked: a broken backup must not leave an empty database behind
        if location.is_sqlite:
            make_file(location)
    except (BackupError, DatabaseError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"error: cannot create {location}: {error.strerror}\n")
        return 2

    async def work(database: "Database") -> int:
        try:
            rows = await restore_backup(database, options.file, force=options.force)
        except BackupError as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        sys.stderr.write(f"{location}: {sum(rows.values())} rows restored\n")
        return 0

    return run(location, work, any_revision=True)
