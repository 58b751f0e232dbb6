"""`/admin/organisations`, `/admin/groups` and `/admin/roles`."""

from dataclasses import dataclass

from frontend.accounts.directory.groups import Groups, Organisations
from frontend.accounts.directory.roles import Roles
from frontend.dialects.admin import bodies
from frontend.dialects.admin.answers import (
    render_deleted,
    show_group,
    show_organisation,
    show_role,
)
from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.routes.accounts import Desk, parameter


@dataclass(frozen=True, slots=True)
class OrganisationRoutes:
    """Organisations."""

    desk: Desk
    organisations: Organisations

    async def page(self, _: Request, client: Client) -> None:
        """GET /admin/organisations"""
        filters = ("search", "ids")
        await self.desk.send_page(client, self.organisations.page, show_organisation, filters)

    async def create(self, request: Request, client: Client) -> None:
        """POST /admin/organisations"""
        body, actor = await self.desk.read(request, client, bodies.OrganisationBody)
        made = await self.organisations.create(actor, body.name)
        await self.desk.send(client, show_organisation(made), 201)

    async def get(self, _: Request, client: Client) -> None:
        """GET /admin/organisations/{id}"""
        found = await self.organisations.get(parameter(client))
        await self.desk.send(client, show_organisation(found))

    async def edit(self, request: Request, client: Client) -> None:
        """PATCH /admin/organisations/{id}"""
        body, actor = await self.desk.read(request, client, bodies.OrganisationEdit)
        edited = await self.organisations.edit(actor, parameter(client), bodies.changed(body))
        await self.desk.send(client, show_organisation(edited))

    async def delete(self, request: Request, client: Client) -> None:
        """DELETE /admin/organisations/{id}"""
        await self.organisations.delete(self.desk.actor(request, client), parameter(client))
        await client.respond(render_deleted("organisation", parameter(client)))


@dataclass(frozen=True, slots=True)
class GroupRoutes:
    """Groups."""

    desk: Desk
    groups: Groups

    async def page(self, _: Request, client: Client) -> None:
        """GET /admin/groups"""
        filters = ("organisation_id", "name", "search", "ids")
        await self.desk.send_page(client, self.groups.page, show_group, filters)

    async def create(self, request: Request, client: Client) -> None:
        """POST /admin/groups"""
        body, actor = await self.desk.read(request, client, bodies.GroupBody)
        made = await self.groups.create(
            actor,
            body.name,
            body.organisation_id,
            body.weight,
            audit=body.audit,
            audit_strict=body.audit_strict,
            audit_days=body.audit_days,
            upstreams=body.upstreams,
        )
        await self.desk.send(client, show_group(made), 201)

    async def get(self, _: Request, client: Client) -> None:
        """GET /admin/groups/{id}"""
        await self.desk.send(client, show_group(await self.groups.get(parameter(client))))

    async def edit(self, request: Request, client: Client) -> None:
        """PATCH /admin/groups/{id}"""
        body, actor = await self.desk.read(request, client, bodies.GroupEdit)
        edited = await self.groups.edit(actor, parameter(client), bodies.changed(body))
        await self.desk.send(client, show_group(edited))

    async def delete(self, request: Request, client: Client) -> None:
        """DELETE /admin/groups/{id}"""
        await self.groups.delete(self.desk.actor(request, client), parameter(client))
        await client.respond(render_deleted("group", parameter(client)))


@dataclass(frozen=True, slots=True)
class RoleRoutes:
    """Roles."""

    desk: Desk
    roles: Roles

    async def page(self, _: Request, client: Client) -> None:
        """GET /admin/roles"""
        await self.desk.send_page(client, self.roles.page, show_role)

    async def create(self, request: Request, client: Client) -> None:
        """POST /admin/roles"""
        body, actor = await self.desk.read(request, client, bodies.RoleBody)
        made = await self.roles.create(actor, body.name, body.weight, body.permissions)
        await self.desk.send(client, show_role(made), 201)

    async def get(self, _: Request, client: Client) -> None:
        """GET /admin/roles/{id}"""
        await self.desk.send(client, show_role(await self.roles.get(parameter(client))))

    async def edit(self, request: Request, client: Client) -> None:
        """PATCH /admin/roles/{id}"""
        body, actor = await self.desk.read(request, client, bodies.RoleEdit)
        edited = await self.roles.edit(actor, parameter(client), bodies.changed(body))
        await self.desk.send(client, show_role(edited))

    async def delete(self, request: Request, client: Client) -> None:
        """DELETE /admin/roles/{id}"""
        await self.roles.delete(self.desk.actor(request, client), parameter(client))
        await client.respond(render_deleted("role", parameter(client)))
