"""A directory on each kind of database."""

import pytest

from frontend.accounts.callers import Callers
from frontend.accounts.directory.directory import Directory
from frontend.store.database import Database
from tests.support.accounts import opened


@pytest.fixture
async def directory(database: Database) -> Directory:
    return await opened(database)


@pytest.fixture
def callers(database: Database) -> Callers:
    return Callers(database)
