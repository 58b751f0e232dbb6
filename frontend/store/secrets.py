"""Random secrets that all gateways of a database share, each made at its first use."""

import secrets

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from frontend.store.database import Database
from frontend.store.tables import secrets as table


async def shared_secret(database: Database, name: str) -> bytes:
    """32 random bytes, the same for every process. Raises StoreUnavailable while the database
    cannot be reached."""
    kept = await _read(database, name)
    if kept is not None:
        return kept
    made = secrets.token_bytes(32)
    try:
        async with database.begin() as connection:
            await connection.execute(insert(table).values(name=name, value=made))
    except IntegrityError:  # another process was first
        kept = await _read(database, name)
        assert kept is not None
        return kept
    return made


async def _read(database: Database, name: str) -> bytes | None:
    query = select(table.c.value).where(table.c.name == name)
    async with database.connect() as connection:
        return (await connection.execute(query)).scalar_one_or_none()
