"""Copies the keys of a key file into the database."""

from collections.abc import Mapping, Sequence

from frontend.accounts.credentials import Credential, public_id_of
from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.change import Change, Changes
from frontend.accounts.directory.keys import NewKey, add_key, find_key
from frontend.accounts.directory.users import NewUser, add_user
from frontend.accounts.keys import Key as Line
from frontend.domain.accounts import Key
from frontend.errors import Conflict
from frontend.store import accounts as store


async def import_keys(
    changes: Changes, actor: Actor, lines: Sequence[Line], roles: Mapping[str, str]
) -> list[Key]:
    """Copies the keys of a key file, all or none, and returns the new ones.

    Their owners keep their ids. `roles` maps the roles of the file to those of the database. A
    key that was imported before stays as it is, also if it was revoked since. Raises Conflict
    if a user with one of the names already exists.
    """
    added: list[str] = []
    async with changes.begin(actor, "keys.import") as change:
        for line in lines:
            public_id = public_id_of(line.digest)
            if await store.key_existed(change.connection, public_id):
                continue
            user_id = await _owner_of(change, actor, line, roles[line.role])
            new = NewKey("imported")
            await add_key(change, actor, user_id, new, Credential(public_id, line.digest))
            added.append(public_id)
        if added:
            change.note("key", added[0], keys=added)
        return [await find_key(change.connection, public_id) for public_id in added]


async def _owner_of(change: Change, actor: Actor, line: Line, role: str) -> str:
    """The user of a line of a key file: a new one, or the one of an earlier line."""
    found = await store.USERS.find_by(change.connection, name=line.name)
    if found is None:
        return await add_user(change, actor, NewUser(line.name, role), line.user)
    if not found.id.startswith("file-"):
        raise Conflict(
            f"a user with the name '{line.name}' already exists and may be another person; rename"
            " one of them"
        )
    return found.id
