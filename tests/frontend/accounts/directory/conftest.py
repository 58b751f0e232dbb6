"""A directory on each kind of database."""

from collections.abc import AsyncIterator

import pytest

from frontend.accounts.callers import Callers
from frontend.accounts.directory.directory import Directory
from frontend.store.database import Database
from tests.support.accounts import opened
from tests.support.databases import Databases


@pytest.fixture
async def directory(database: Database) -> Directory:
    return await opened(database)


@pytest.fixture
async def on_sqlite(databases: Databases) -> AsyncIterator[Directory]:
    """For what does not depend on the kind of database."""
    database = Database(databases.sqlite())
    yield await opened(database)
    await database.close()


@pytest.fixture
def callers(database: Database) -> Callers:
    return Callers(database)
