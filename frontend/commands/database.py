"""Opens the database of a command: the options for it, and the errors if it cannot be used."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from frontend.errors import StoreUnavailable

if TYPE_CHECKING:
    from pydantic import SecretStr

    from frontend.settings import DatabaseSettings
    from frontend.store.database import Database
    from frontend.store.location import Location
    from frontend.store.redis import SharedCounters


class DatabaseError(Exception):
    """The database of a command cannot be used; the text is for the user."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """`--database-url` and `--data-directory`; without them, the gateway's environment counts."""
    parser.add_argument(
        "--database-url",
        type=_secret,
        help="the database; a password is safer in TRITON_FRONTEND_DATABASE_URL than in a flag,"
        " which other users can read",
    )
    parser.add_argument("--data-directory", type=Path, help="folder of the SQLite database")


def _secret(text: str) -> "SecretStr":
    from pydantic import SecretStr

    return SecretStr(text)


def location_of(options: argparse.Namespace) -> "Location":
    """The location of the database. Raises DatabaseError for invalid settings."""
    from frontend.store.location import locate

    settings = _settings_of(options)
    try:
        return locate(settings.url, settings.data_directory)
    except ValueError as error:
        raise DatabaseError(f"setting 'database_url': {error}") from None


def counters_of(options: argparse.Namespace) -> "SharedCounters | None":
    """The counters of rates in Redis; None if they are in the database. Raises DatabaseError if the
    setting is not valid."""
    from frontend.store.redis import SharedCounters

    settings = _settings_of(options)
    try:
        return None if settings.redis is None else SharedCounters(settings.redis)
    except ValueError as error:
        raise DatabaseError(f"setting 'redis_url': {error}") from None


def _settings_of(options: argparse.Namespace) -> "DatabaseSettings":
    from pydantic import ValidationError

    from frontend.settings import DatabaseSettings

    names = ("database_url", "data_directory")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    try:
        return DatabaseSettings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        text = first["msg"].removeprefix("Value error, ")
        raise DatabaseError(f"setting '{field}': {text}") from None


def run(
    location: "Location", work: Callable[["Database"], Awaitable[int]], *, any_revision: bool
) -> int:
    """Runs `work` on the open database, and prints why it cannot; returns the exit code.

    `any_revision`: also on tables that are not those of this release.
    """
    from frontend.store import migrate
    from frontend.store.database import Database
    from frontend.store.location import check_space

    async def within() -> int:
        database = Database(location)
        try:
            if not any_revision:
                await migrate.check(database)
            return await work(database)
        finally:
            await database.close()

    try:
        check_space(location)
    except OSError as error:
        return _unavailable(f"{location.file.parent}: {error.strerror}")
    try:
        return asyncio.run(within())
    # the driver's reason is for operators, whose terminal this is
    except StoreUnavailable as error:
        return _unavailable(error.reason)
    except migrate.WrongRevision as error:
        sys.stderr.write(f"error: {error}\n")
    return 1


def _unavailable(reason: str) -> int:
    from frontend.store.location import remedy

    sys.stderr.write(f"error: the database is not available: {reason}\n")
    if hint := remedy(reason):
        sys.stderr.write(f"hint: {hint}\n")
    return 1
