"""Accounts for tests: a database with its roles, and users with keys."""

from dataclasses import replace

from frontend.accounts.callers import Callers
from frontend.accounts.credentials import parse_key
from frontend.accounts.directory.actor import OPERATOR, Actor
from frontend.accounts.directory.directory import Directory
from frontend.accounts.directory.keys import NewKey
from frontend.accounts.directory.users import NewUser
from frontend.domain.accounts import User
from frontend.domain.identity import Caller
from frontend.store.database import Database
from frontend.store.location import Location


async def opened(database: Database) -> Directory:
    """The directory of a new database."""
    directory = Directory.of(database)
    await directory.roles.seed()
    return directory


async def add(directory: Directory, name: str, role: str = "student") -> tuple[User, str]:
    """A user and the text of a key."""
    user = await directory.users.create(OPERATOR, NewUser(name, role))
    made = await directory.keys.create(OPERATOR, user.id, NewKey())
    assert made.text is not None
    return user, made.text


async def find(callers: Callers, text: str) -> Caller | None:
    """The caller that a key belongs to."""
    credential = parse_key(text.encode())
    assert credential is not None
    return await callers.find(credential)


def acting(caller: Caller, presented: str = "", key: str = "", body: bytes = b"") -> Actor:
    """What the API makes of a caller."""
    actor = Actor(caller.user, caller.name, caller.role.permissions, caller.role.name)
    return replace(
        actor,
        scope=caller.scope,
        expires_at_us=caller.expires_at_us,
        key=caller.key,
        presented=presented.encode(),
        idempotency_key=key,
        body=body,
    )


async def accounts_of_clinic(location: Location) -> tuple[str, str, str]:
    """Of a new database: an admin's key, the id of a group, and the key of a user in it."""
    database = Database(location)
    directory = await opened(database)
    _, admin = await add(directory, "chief", "admin")
    group = await directory.groups.create(OPERATOR, "clinic", None, 1)
    user, key = await add(directory, "resident")
    await directory.users.edit(OPERATOR, user.id, {"group_id": group.id})
    await database.close()
    return admin, group.id, key
