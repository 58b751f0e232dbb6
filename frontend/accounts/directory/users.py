"""Creates, edits and deletes users. Deleting one deletes the keys; usage is kept under the id."""

from dataclasses import dataclass, field
from typing import Any

from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.change import Change, Changes
from frontend.accounts.directory.groups import default_group, disabled
from frontend.accounts.directory.rules import (
    check_email,
    check_grants,
    check_may_set_passwords,
    check_name,
    check_text,
    exists,
    find_user,
    keeping_an_admin,
)
from frontend.accounts.guesses import Guesses
from frontend.accounts.passwords import Passwords, check_password, new_password
from frontend.accounts.roles import DEFAULT_ROLE
from frontend.domain.accounts import User
from frontend.domain.ids import new_id
from frontend.errors import Conflict, Forbidden, InvalidRequest
from frontend.store import accounts as store
from frontend.store.records import Range, Rows
from frontend.store.sessions import end_sessions


@dataclass(frozen=True, slots=True)
class NewUser:
    """The fields of a new account. `group_id` of None: the group 'default'."""

    name: str
    role: str = DEFAULT_ROLE
    group_id: str | None = None
    display_name: str = ""
    email: str | None = None

    def check(self) -> None:
        """Raises InvalidRequest for a field with a value that is not allowed."""
        _check_values({"name": self.name, "display_name": self.display_name, "email": self.email})


@dataclass(frozen=True, slots=True)
class Users:
    """Creates, edits and deletes users, and sets their passwords."""

    changes: Changes
    passwords: Passwords = field(default_factory=Passwords)
    guesses: Guesses = field(default_factory=Guesses)

    async def page(self, range_: Range, **filters: str) -> list[User]:
        """One page. `filters`: `group_id`, `role`, `name`, `email`."""
        async with self.changes.database.connect() as rows:
            return await store.USERS.page(rows, range_, **filters)

    async def get(self, user_id: str) -> User:
        """The user of an id. Raises NotFound if there is none."""
        async with self.changes.database.connect() as rows:
            return await _user(rows, user_id)

    async def create(self, actor: Actor, new: NewUser) -> User:
        """Creates a user.

        Raises InvalidRequest for a value that is not allowed, Conflict for a name or address that
        is in use, Forbidden for a role with more rights than the actor has.
        """
        new.check()
        async with self.changes.begin(actor, "users.create") as change:
            if change.kept is None:
                added = await add_user(change, actor, new)
                change.note("user", added, name=new.name, role=new.role)
                return await _user(change.connection, added)
            return await _user(change.connection, change.kept["id"])

    async def edit(self, actor: Actor, user_id: str, values: dict[str, Any]) -> User:
        """Changes what `values` has of `name`, `role`, `group_id`, `display_name`, `email` and
        `disabled`.

        Raises NotFound if the user does not exist, Forbidden if the actor lacks rights of the user
        or of the new role, InvalidRequest if a value is not valid, and Conflict if the email is in
        use or no administrator would be left.
        """
        _check_values(values)
        async with self.changes.begin(actor, "users.edit") as change:
            rows = change.connection
            user = await find_user(rows, actor, user_id)
            if user.id == actor.id and values.keys() & {"role", "group_id", "disabled"}:
                raise Forbidden("you cannot change your own role or group, or disable yourself")
            if "role" in values:
                await check_grants(rows, actor, values["role"], "role")
            if (group_id := values.get("group_id")) is not None:
                exists(await store.GROUPS.find(rows, group_id), "group", group_id, "group_id")
            await _check_unique(rows, values.get("email"), user_id)
            row = disabled(values, change.now_us) | {"updated_at_us": change.now_us}
            async with keeping_an_admin(rows):
                await store.USERS.update(rows, user_id, **row)
            change.note("user", user_id, **values)
            return await _user(rows, user_id)

    async def delete(self, actor: Actor, user_id: str) -> None:
        """Deletes a user with their keys and sessions.

        Raises NotFound if there is none, Conflict for the last administrator, Forbidden for the
        actor, and for a user with more rights than the actor has.
        """
        async with self.changes.begin(actor, "users.delete") as change:
            rows = change.connection
            user = await find_user(rows, actor, user_id)
            if user.id == actor.id:
                raise Forbidden("you cannot delete yourself")
            keys = await store.KEYS.ids(rows, user_id=user_id)
            # deleted with the user, or they could be found and enabled by their ids
            await store.KEYS.delete(rows, keys, change.now_us)
            await end_sessions(rows, user_id)
            async with keeping_an_admin(rows):
                await store.USERS.delete(rows, [user_id], change.now_us)
            change.note("user", user_id, name=user.name, keys=len(keys))

    async def reset_password(self, actor: Actor, user_id: str, *, once: bool = False) -> str:
        """A new random password. With `once` the user must choose another one at the first sign-in.

        Raises NotFound if the user does not exist, and Forbidden if the actor may not set this
        user's password.
        """
        password = new_password()
        hashed = await self.passwords.hash(password, actor.id)
        async with self.changes.begin(actor, "users.reset_password") as change:
            await check_may_set_passwords(change.connection, actor, change.now_us)
            await find_user(change.connection, actor, user_id)
            row = {"password": hashed, "password_once": once}
            await store.USERS.update(change.connection, user_id, **row)
            await end_sessions(change.connection, user_id)
            change.note("user", user_id, once=once)
        return password

    async def choose_password(self, actor: Actor, new: str) -> None:
        """Replaces a one-time password, for the user who got it.

        Raises InvalidRequest if the new password is weak or is the one-time password, and
        RateLimited or Overloaded if too many passwords wait to be hashed.
        """
        _check_password(new, actor.name)
        async with self.changes.database.connect() as rows:
            await _user(rows, actor.id)
            stored = await store.password_of(rows, actor.id)
        if await self.passwords.verify(stored, new, actor.id):
            text = "'new_password' is the one-time password; choose another one"
            raise InvalidRequest(text, param="new_password")
        await self._set(actor, "users.choose_password", new)

    async def change_password(self, actor: Actor, current: str, new: str) -> None:
        """Changes the actor's password.

        Raises InvalidRequest if the new password is weak, Forbidden if the current one is wrong or
        not set, and RateLimited or Overloaded after too many attempts.
        """
        _check_password(new, actor.name)
        # counted before the hash, or guesses at the same time would all be hashed
        attempt = self.guesses.admit(actor)
        async with self.changes.database.connect() as rows:
            await _user(rows, actor.id)
            stored = await store.password_of(rows, actor.id)
        if stored is None:
            raise Forbidden("no password is set; an administrator can set the first one")
        if not await self.passwords.verify(stored, current, actor.browser or actor.credential):
            raise Forbidden("the current password is not correct", param="current_password")
        attempt.succeed()
        await self._set(actor, "users.change_password", new)

    async def _set(self, actor: Actor, action: str, new: str) -> None:
        hashed = await self.passwords.hash(new, actor.browser or actor.credential)
        async with self.changes.begin(actor, action) as change:
            row = {"password": hashed, "password_once": False}
            await store.USERS.update(change.connection, actor.id, **row)
            # also the session that asks: a thief who knows the old password must be out, too
            await end_sessions(change.connection, actor.id)
            change.note("user", actor.id)


async def add_user(change: Change, actor: Actor, new: NewUser, user_id: str | None = None) -> str:
    """Adds an account and returns its id, a new one if `user_id` is None.

    Raises InvalidRequest if a role or group does not exist, Forbidden if the role has permissions
    that the actor lacks, and Conflict if the email is in use.
    """
    rows = change.connection
    await check_grants(rows, actor, new.role, "role")
    group_id = new.group_id
    if group_id is None:
        group_id = await default_group(change)
    else:
        exists(await store.GROUPS.find(rows, group_id), "group", group_id, "group_id")
    await _check_unique(rows, new.email)
    added = user_id or new_id()
    await store.USERS.insert(
        rows,
        id=added,
        group_id=group_id,
        role=new.role,
        name=new.name,
        display_name=new.display_name,
        email=new.email,
        created_at_us=change.now_us,
        updated_at_us=change.now_us,
    )
    return added


async def _check_unique(rows: Rows, email: str | None, own: str | None = None) -> None:
    """Raises Conflict if another user has the email address, and may sign in with it."""
    if email and (found := await store.user_of_email(rows, email)) and found != own:
        raise Conflict(f"a user with the email '{email}' already exists", param="email")


def _check_password(password: str, name: str) -> None:
    try:
        check_password(password, name)
    except ValueError as error:
        raise InvalidRequest(f"'new_password': {error}", param="new_password") from None


def _check_values(values: dict[str, Any]) -> None:
    if "name" in values:
        check_name(values["name"])
    if (email := values.get("email")) is not None:
        check_email(email)
    check_text("display_name", values.get("display_name", ""))


async def _user(rows: Rows, user_id: str) -> User:
    return exists(await store.USERS.find(rows, user_id), "user", user_id)
