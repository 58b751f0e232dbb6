"""Creates, edits and deletes roles. Editors cannot give themselves more rights."""

from dataclasses import dataclass
from typing import Any

from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.change import Changes
from frontend.accounts.directory.rules import check_name, exists, permissions_of
from frontend.accounts.roles import ADMIN, GRANTABLE, SEEDED
from frontend.domain.accounts import StoredRole
from frontend.domain.identity import Permission
from frontend.errors import Conflict, Forbidden, InvalidRequest
from frontend.store import accounts as store
from frontend.store.records import Range


@dataclass(frozen=True, slots=True)
class Roles:
    """Creates, edits and deletes roles."""

    changes: Changes

    async def seed(self) -> None:
        """Adds the initial roles of a new database."""
        now_us = self.changes.now_us()
        rows = [
            {
                "name": role.name,
                "weight": role.weight,
                "permissions": [name for name in GRANTABLE if Permission(name) in role.permissions],
                "built_in": True,
                "updated_at_us": now_us,
            }
            for role in SEEDED.values()
        ]
        async with self.changes.database.begin() as connection:
            await store.seed_roles(connection, rows, ADMIN.name)

    async def page(self, range_: Range) -> list[StoredRole]:
        """One page."""
        async with self.changes.database.connect() as rows:
            return await store.ROLES.page(rows, range_)

    async def get(self, name: str) -> StoredRole:
        """The role of a name. Raises NotFound if there is none."""
        async with self.changes.database.connect() as rows:
            return exists(await store.ROLES.find(rows, name), "role", name)

    async def create(
        self, actor: Actor, name: str, weight: int, permissions: list[str]
    ) -> StoredRole:
        """Creates a role.

        Raises InvalidRequest for a name that is not allowed, Conflict for one that is in use,
        Forbidden for permissions that the actor does not have.
        """
        check_name(name)
        _check_permissions(actor, permissions)
        async with self.changes.begin(actor, "roles.create") as change:
            if change.kept is None:
                row = {"weight": weight, "permissions": permissions}
                await store.ROLES.insert(
                    change.connection, name=name, built_in=False, updated_at_us=change.now_us, **row
                )
                change.note("role", name, **row)
            return exists(await store.ROLES.find(change.connection, name), "role", name)

    async def edit(self, actor: Actor, name: str, values: dict[str, Any]) -> StoredRole:
        """Changes `weight` or `permissions`, given in `values`. Raises NotFound if the role does
        not exist, Forbidden for the actor's own role or permissions that the actor lacks, and
        InvalidRequest for unknown permissions.
        """
        async with self.changes.begin(actor, "roles.edit") as change:
            rows = change.connection
            role = exists(await store.ROLES.find(rows, name, locked=True), "role", name)
            _check_edit(actor, role, values)
            await store.ROLES.update(rows, name, updated_at_us=change.now_us, **values)
            change.note("role", name, **values)
            return exists(await store.ROLES.find(rows, name), "role", name)

    async def delete(self, actor: Actor, name: str) -> None:
        """Deletes a role.

        Raises NotFound if there is none, Conflict if it is built in or users have it, Forbidden for
        one with permissions that the actor does not have.
        """
        async with self.changes.begin(actor, "roles.delete") as change:
            role = exists(
                await store.ROLES.find(change.connection, name, locked=True), "role", name
            )
            if role.built_in:
                raise Conflict(f"the role '{name}' is built in and cannot be deleted")
            _check_permissions(actor, role.permissions)
            if not await store.delete_role(change.connection, name):
                raise Conflict(f"users have or had the role '{name}', so it cannot be deleted")
            change.note("role", name)


def _check_edit(actor: Actor, role: StoredRole, values: dict[str, Any]) -> None:
    """No rights beyond the actor's own, before or after; and no better role for the actor."""
    _check_permissions(actor, role.permissions)
    _check_permissions(actor, values.get("permissions", []))
    # an actor with every permission cannot gain anything by it
    if role.name == actor.role and actor.permissions < frozenset(Permission):
        raise Forbidden("you cannot edit your own role; ask another administrator")
    if role.name == ADMIN.name and "permissions" in values:
        raise Conflict(
            "the role 'admin' always has every permission; only its weight can be edited"
        )


def _check_permissions(actor: Actor, names: list[str]) -> None:
    for name in names:
        if name not in GRANTABLE:
            known = ", ".join(GRANTABLE)
            raise InvalidRequest(
                f"'permissions' contains '{name[:60]}'; known: {known}", param="permissions"
            )
    if missing := permissions_of(names) - actor.permissions:
        text = ", ".join(sorted(one.value for one in missing))
        raise Forbidden(f"you cannot give permissions that you do not have: {text}")
