"""The revision of a database: which it has, which this release needs, and the way between them.

Each move is one transaction, on SQLite too, and moves of several processes take turns. Alembic is
imported when something is to be moved: a server that starts only compares two names.
"""

import enum
import functools
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from frontend.store.database import Database, make_file

_FOLDER = Path(__file__).parent / "migrations"
_TABLE = "alembic_version"
_LOCK = 0x7474_6774  # of PostgreSQL's advisory locks; any number that is not in use


class WrongRevision(Exception):
    """The database's tables are not those of this release; the text says what to do."""


class State(enum.StrEnum):
    """How the tables of a database relate to this release."""

    EMPTY = "empty"
    OLD = "old"
    CURRENT = "current"
    UNKNOWN = "unknown"


@functools.cache
def revisions() -> tuple[str, ...]:
    """Every revision that this release knows, the oldest first."""
    files = (_FOLDER / "versions").glob("[0-9]*.py")
    return tuple(sorted(file.name.partition("_")[0] for file in files))


async def current_revision(database: Database) -> str | None:
    """The revision of the database; None without tables. Raises StoreUnavailable while the database
    cannot be reached."""
    async with database.connect() as connection:
        return await connection.run_sync(_revision)


def state_of(revision: str | None) -> State:
    """Compares a database's revision with the release's."""
    if revision is None:
        return State.EMPTY
    if revision not in revisions():
        return State.UNKNOWN
    return State.CURRENT if revision == revisions()[-1] else State.OLD


async def check(database: Database) -> None:
    """Raises WrongRevision unless the tables are those of this release, and StoreUnavailable while
    the database cannot be reached."""
    revision, newest = await current_revision(database), revisions()[-1]
    match state_of(revision):
        case State.EMPTY:
            text = f"{database.location} has no tables"
        case State.OLD:
            text = f"{database.location} has revision {revision}, this release needs {newest}"
        case State.UNKNOWN:
            raise WrongRevision(
                f"{database.location} has revision {revision}, which this release does not know: it"
                f" needs {newest}; run the newer release, or its `triton-gateway migrate --down"
                f" {newest}`"
            )
        case State.CURRENT:
            return
    raise WrongRevision(f"{text}; run `triton-gateway migrate`")


async def prepare(database: Database) -> None:
    """Before a gateway serves: checks the tables, and makes those of a new SQLite database.

    Raises WrongRevision for tables of another release, StoreUnavailable while the database cannot
    be reached, and OSError for a file that cannot be created.
    """
    if database.location.is_sqlite:
        # before SQLite does it, with a mode that the umask decides
        make_file(database.location)
        if await current_revision(database) is None:
            await upgrade(database)
    await check(database)


async def upgrade(database: Database) -> str | None:
    """Moves to this release's revision. Returns the revision before.

    Raises WrongRevision for a database of a newer release, and StoreUnavailable while the database
    cannot be reached.
    """
    async with _patient(database) as connection:
        return await connection.run_sync(create_tables)


async def downgrade(database: Database, revision: str) -> str | None:
    """Moves back to an older revision, `base` for none; data that it has no place for is lost.

    Returns the revision before. Raises WrongRevision for one that is not older, and
    StoreUnavailable while the database cannot be reached.
    """
    async with _patient(database) as connection:
        return await connection.run_sync(_downgrade, revision)


@asynccontextmanager
async def _patient(database: Database) -> AsyncIterator[AsyncConnection]:
    """A transaction of which a statement may take minutes, as an index of millions of rows does."""
    patient = Database(database.location, connections=1, statement_s=None)
    try:
        async with patient.begin() as connection:
            yield connection
    finally:
        await patient.close()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_TABLE):
        return None
    # the name of the table is a constant
    found = connection.execute(text(f"SELECT version_num FROM {_TABLE}"))  # noqa: S608
    return found.scalar_one_or_none()


def create_tables(connection: Connection) -> str | None:
    """`upgrade` within a transaction that exists."""
    # first, so that of two processes that start together one migrates and the other one waits
    _take_turn(connection)
    before = _revision(connection)
    if state_of(before) is State.UNKNOWN:
        raise WrongRevision(f"the database has revision {before}, of a newer release")
    if state_of(before) is not State.CURRENT:
        _run(connection, "upgrade", revisions()[-1])
    return before


def _downgrade(connection: Connection, revision: str) -> str | None:
    _take_turn(connection)
    before = _revision(connection)
    known = ("base", *revisions())
    if revision not in known:
        raise WrongRevision(f"'{revision}' is not a revision; there are {', '.join(known)}")
    if before not in revisions():
        raise WrongRevision(f"the database has revision {before}, which this release does not know")
    if known.index(revision) > known.index(before):
        raise WrongRevision(f"the database has revision {before}, which is older than {revision}")
    _run(connection, "downgrade", revision)
    return before


def _take_turn(connection: Connection) -> None:
    """SQLite's writers take turns anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def _run(connection: Connection, name: str, revision: str) -> None:
    from alembic import command  # noqa: PLC0415 - a tenth of a second that a server need not spend
    from alembic.config import Config  # noqa: PLC0415

    config = Config(stdout=io.StringIO())
    # ConfigParser would expand a per cent sign in the path
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    getattr(command, name)(config, revision)
