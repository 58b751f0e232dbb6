"""`triton-gateway backup FILE`: writes the whole database into a file, also while gateways run."""

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
        prog="triton-gateway backup",
        description="Back up the database to a file; gateways can keep running. The file"
        " contains digests of keys and passwords, and stored answers, so only you can read it.",
    )
    parser.add_argument("file", type=Path, help="the file to write")
    parser.add_argument("--force", action="store_true", help="replace a file that exists")
    add_options(parser)
    options = parser.parse_args(arguments)
    try:
        location = location_of(options)
        if location.is_sqlite and not location.file.exists():
            raise DatabaseError(f"{location} does not exist")
        if options.file.exists() and not options.force:
            raise DatabaseError(f"{options.file} exists; pass --force to replace it")
    except DatabaseError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2

    async def work(database: "Database") -> int:
        from frontend.store.backup import BackupError, write_backup

        try:
            rows = await write_backup(database, options.file)
        except BackupError as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        size = options.file.stat().st_size
        sys.stderr.write(f"{options.file}: {sum(rows.values())} rows, {size} bytes\n")
        return 0

    return run(location, work, any_revision=False)
