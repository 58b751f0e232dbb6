"""What Alembic's autogeneration is needed for: comparing tables, and writing the next migration.

After a change of `frontend/store/tables`, `python -m tests.support.migrations "add a column"`
writes its migration, which is then read and corrected.
"""

import asyncio
import io
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection

import frontend.store.migrations
from frontend.store.database import Database, make_file
from frontend.store.location import at_file
from frontend.store.migrate import revisions, upgrade
from frontend.store.tables import metadata

_FOLDER = Path(frontend.store.migrations.__file__).parent
_REMARKS = re.compile(r" +# ### .*\n")


def differences(connection: Connection) -> list[Any]:
    """Where the tables of a database are not those of `frontend.store.tables`."""
    # SQLite reports a default of '' in quotes
    options: dict[str, Any] = {
        "compare_server_default": connection.dialect.name == "postgresql",
        # inverted indexes have no form that both databases know: their migrations alone make them
        "include_name": lambda name, _, __: not is_of_words(name),
    }
    context = MigrationContext.configure(connection, opts=options)
    with warnings.catch_warnings():
        # SQLite does not tell SQLAlchemy of which expression an index is
        warnings.filterwarnings("ignore", ".*expression-based index")
        return list(compare_metadata(context, metadata))


def is_of_words(name: str | None) -> bool:
    """Whether a table or index is of the audit's search with several filters or for words."""
    inverted = ("audit_words", "audit_filters")
    return name is not None and name.removeprefix("ix_").startswith(inverted)


async def write(message: str) -> None:
    """Writes the migration from the newest revision to the current tables."""
    with tempfile.TemporaryDirectory() as folder:
        location = at_file(Path(folder) / "gateway.db")
        make_file(location)
        database = Database(location)
        await upgrade(database)
        async with database.begin() as connection:
            await connection.run_sync(_generate, message)
        await database.close()


def _generate(connection: Connection, message: str) -> None:
    revision = f"{int(revisions()[-1]) + 1:04}"
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(_FOLDER))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes |= {"connection": connection, "batch": True}
    command.revision(config, message, autogenerate=True, rev_id=revision)
    (file,) = (_FOLDER / "versions").glob(f"{revision}_*.py")
    file.write_text(_REMARKS.sub("", file.read_text()))


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1]))
