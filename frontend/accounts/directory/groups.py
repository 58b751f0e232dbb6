"""Organisations and groups. One that still has members cannot be deleted."""

from dataclasses import dataclass
from typing import Any

from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.change import Change, Changes
from frontend.accounts.directory.rules import check_grants, check_name, exists, keeping_an_admin
from frontend.domain.accounts import Group, Organisation
from frontend.domain.ids import new_id
from frontend.domain.labels import problem_of_rules
from frontend.errors import Conflict, InvalidRequest
from frontend.store import accounts as store
from frontend.store.records import Range, Rows

DEFAULT = "default"
"""The name of the group, and of its organisation, of users for whom none is named."""


@dataclass(frozen=True, slots=True)
class Organisations:
    """Creates, edits and deletes organisations."""

    changes: Changes

    async def page(self, range_: Range) -> list[Organisation]:
        """One page."""
        async with self.changes.database.connect() as rows:
            return await store.ORGANISATIONS.page(rows, range_)

    async def get(self, organisation_id: str) -> Organisation:
        """The organisation of an id. Raises NotFound if there is none."""
        async with self.changes.database.connect() as rows:
            return await _organisation(rows, organisation_id)

    async def create(self, actor: Actor, name: str) -> Organisation:
        """Creates an organisation.

        Raises InvalidRequest for a name that is not allowed, Conflict for one that is in use.
        """
        check_name(name)
        async with self.changes.begin(actor, "organisations.create") as change:
            if change.kept is None:
                change.note("organisation", await _add_organisation(change, name), name=name)
            return await _organisation(change.connection, _id_of(change))

    async def edit(
        self, actor: Actor, organisation_id: str, values: dict[str, Any]
    ) -> Organisation:
        """Changes `name` or `disabled`, given in `values`.

        Raises NotFound if the id does not exist, Forbidden if a member has more rights than the
        actor, and Conflict if the name is in use or no administrator would be left.
        """
        _check_names(values)
        async with self.changes.begin(actor, "organisations.edit") as change:
            await _organisation(change.connection, organisation_id)
            row = disabled(values, change.now_us)
            if row.get("disabled_at_us"):
                await _check_members(change, actor, organisation_id=organisation_id)
            async with keeping_an_admin(change.connection):
                await store.ORGANISATIONS.update(change.connection, organisation_id, **row)
            change.note("organisation", organisation_id, **values)
            return await _organisation(change.connection, organisation_id)

    async def delete(self, actor: Actor, organisation_id: str) -> None:
        """Deletes an organisation. Raises NotFound if there is none, Conflict if it has groups."""
        async with self.changes.begin(actor, "organisations.delete") as change:
            rows = change.connection
            organisation = await _organisation(rows, organisation_id)
            if await store.GROUPS.find_by(rows, organisation_id=organisation_id):
                raise Conflict("the organisation still has groups; delete or move them first")
            await store.ORGANISATIONS.delete(rows, [organisation_id], change.now_us)
            change.note("organisation", organisation_id, name=organisation.name)


@dataclass(frozen=True, slots=True)
class Groups:
    """Creates, edits and deletes groups."""

    changes: Changes

    async def page(self, range_: Range, **filters: str) -> list[Group]:
        """One page. `filters`: `organisation_id`, `name`."""
        async with self.changes.database.connect() as rows:
            return await store.GROUPS.page(rows, range_, **filters)

    async def get(self, group_id: str) -> Group:
        """The group of an id. Raises NotFound if there is none."""
        async with self.changes.database.connect() as rows:
            return await _group(rows, group_id)

    async def create(
        self,
        actor: Actor,
        name: str,
        organisation_id: str | None,
        weight: int,
        **policies: Any,
    ) -> Group:
        """Adds a group, to the organisation 'default' unless another one is named. `policies` may
        set `audit`, `audit_strict`, `audit_days` and `upstreams`.

        Raises InvalidRequest if a value is not valid, and Conflict if the name is in use.
        """
        check_name(name)
        _check_strict(policies.get("audit"), policies.get("audit_strict"))
        _check_rules(policies)
        async with self.changes.begin(actor, "groups.create") as change:
            if change.kept is None:
                rows = change.connection
                if organisation_id is None:
                    organisation_id = await _default_organisation(change)
                found = await store.ORGANISATIONS.find(rows, organisation_id, locked=True)
                exists(found, "organisation", organisation_id, "organisation_id")
                added = await _add_group(change, name, organisation_id, weight)
                await store.GROUPS.update(rows, added, **policies)
                change.note("group", added, name=name, organisation_id=organisation_id)
            return await _group(change.connection, _id_of(change))

    async def edit(self, actor: Actor, group_id: str, values: dict[str, Any]) -> Group:
        """Changes what `values` has of `name`, `weight`, `disabled`, `audit`, `audit_strict`,
        `audit_days` and `upstreams`.

        Raises InvalidRequest if a value is not valid, NotFound if the id does not exist, Forbidden
        if a member has more rights than the actor, and Conflict if the name is in use or no
        administrator would be left.
        """
        _check_names(values)
        _check_rules(values)
        async with self.changes.begin(actor, "groups.edit") as change:
            group = await _group(change.connection, group_id)
            level = values.get("audit", group.audit)
            _check_strict(level, values.get("audit_strict", group.audit_strict))
            row = disabled(values, change.now_us)
            if row.get("disabled_at_us"):
                await _check_members(change, actor, group_id=group_id)
            async with keeping_an_admin(change.connection):
                await store.GROUPS.update(change.connection, group_id, **row)
            change.note("group", group_id, **values)
            return await _group(change.connection, group_id)

    async def delete(self, actor: Actor, group_id: str) -> None:
        """Deletes a group. Raises NotFound if there is none, Conflict if it has users."""
        async with self.changes.begin(actor, "groups.delete") as change:
            rows = change.connection
            group = await _group(rows, group_id)
            if await store.USERS.find_by(rows, group_id=group_id):
                raise Conflict("the group still has users; delete or move them first")
            await store.GROUPS.delete(rows, [group_id], change.now_us)
            change.note("group", group_id, name=group.name)


async def _check_members(change: Change, actor: Actor, **of: str) -> None:
    """Raises Forbidden where it would shut out users with more rights than the actor has."""
    for role in sorted(await store.roles_with_access(change.connection, **of)):
        await check_grants(change.connection, actor, role)


async def default_group(change: Change) -> str:
    """The id of the group for users without another one; made when it is missing."""
    organisation_id = await _default_organisation(change)
    found = await store.GROUPS.find_by(
        change.connection, organisation_id=organisation_id, name=DEFAULT
    )
    return found.id if found else await _add_group(change, DEFAULT, organisation_id, 1)


async def _default_organisation(change: Change) -> str:
    found = await store.ORGANISATIONS.find_by(change.connection, name=DEFAULT)
    return found.id if found else await _add_organisation(change, DEFAULT)


async def _add_organisation(change: Change, name: str) -> str:
    added = new_id()
    await store.ORGANISATIONS.insert(
        change.connection, id=added, name=name, created_at_us=change.now_us
    )
    return added


async def _add_group(change: Change, name: str, organisation_id: str, weight: int) -> str:
    added = new_id()
    await store.GROUPS.insert(
        change.connection,
        id=added,
        organisation_id=organisation_id,
        name=name,
        weight=weight,
        created_at_us=change.now_us,
    )
    return added


def disabled(values: dict[str, Any], now_us: int) -> dict[str, Any]:
    """The columns of an edit: `disabled` becomes the time at which it was set."""
    row = {name: value for name, value in values.items() if name != "disabled"}
    if "disabled" in values:
        row["disabled_at_us"] = now_us if values["disabled"] else None
    return row


def _check_names(values: dict[str, Any]) -> None:
    if "name" in values:
        check_name(values["name"])


def _check_strict(level: str | None, strict: bool | None) -> None:
    if strict and level != "full":
        raise InvalidRequest(
            f"'audit_strict' is true, but 'audit' is {_quoted(level)}; set 'audit' to 'full'",
            param="audit_strict",
        )


def _check_rules(values: dict[str, Any]) -> None:
    problem = problem_of_rules(values.get("upstreams") or {})
    if problem is not None:
        raise InvalidRequest(f"'upstreams' {problem}", param="upstreams")


def _quoted(level: str | None) -> str:
    return "not set" if level is None else f"'{level}'"


def _id_of(change: Change) -> str:
    return change.target_id if change.kept is None else change.kept["id"]


async def _organisation(rows: Rows, organisation_id: str) -> Organisation:
    found = await store.ORGANISATIONS.find(rows, organisation_id)
    return exists(found, "organisation", organisation_id)


async def _group(rows: Rows, group_id: str) -> Group:
    return exists(await store.GROUPS.find(rows, group_id), "group", group_id)
