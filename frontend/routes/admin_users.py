"""`/admin/users`, `/admin/key-requests` with the public form for them, and `/admin/events`."""

from dataclasses import dataclass

from frontend.accounts.authorize import secret_of
from frontend.accounts.directory.events import Events
from frontend.accounts.directory.keys import NewKey
from frontend.accounts.directory.requests import Approval, Form, KeyRequests
from frontend.accounts.directory.users import NewUser, Users
from frontend.dialects.admin import bodies
from frontend.dialects.admin.answers import (
    Shown,
    render_deleted,
    show_event,
    show_own_request,
    show_request,
    show_user,
)
from frontend.dialects.admin.undo import undo_of
from frontend.domain.accounts import AdminEvent
from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.routes.accounts import Desk, key_budget, parameter


@dataclass(frozen=True, slots=True)
class UserRoutes:
    """Users."""

    desk: Desk
    users: Users
    events: Events

    async def page(self, _: Request, client: Client) -> None:
        """GET /admin/users"""
        filters = ("group_id", "role", "name", "email", "search", "ids")
        await self.desk.send_page(client, self.users.page, show_user, filters)

    async def create(self, request: Request, client: Client) -> None:
        """POST /admin/users"""
        body, actor = await self.desk.read(request, client, bodies.UserBody)
        new = NewUser(body.name, body.role, body.group_id, body.display_name, body.email)
        await self.desk.send(client, show_user(await self.users.create(actor, new)), 201)

    async def get(self, _: Request, client: Client) -> None:
        """GET /admin/users/{id}"""
        await self.desk.send(client, show_user(await self.users.get(parameter(client))))

    async def edit(self, request: Request, client: Client) -> None:
        """PATCH /admin/users/{id}"""
        body, actor = await self.desk.read(request, client, bodies.UserEdit)
        edited = await self.users.edit(actor, parameter(client), bodies.changed(body))
        await self.desk.send(client, show_user(edited))

    async def delete(self, request: Request, client: Client) -> None:
        """DELETE /admin/users/{id}"""
        await self.users.delete(self.desk.actor(request, client), parameter(client))
        await client.respond(render_deleted("user", parameter(client)))

    async def reset_password(self, request: Request, client: Client) -> None:
        """POST /admin/users/{id}/password"""
        _, actor = await self.desk.read(request, client, bodies.NoBody)
        password = await self.users.reset_password(actor, parameter(client), once=True)
        shown = {"id": parameter(client), "object": "user.password", "password": password}
        await self.desk.send(client, {**shown, "must_be_changed": True})

    async def page_events(self, _: Request, client: Client) -> None:
        """GET /admin/events"""
        filters = ("actor_id", "target_id", "action", "search", "order")
        await self.desk.send_page(client, self.events.page, _show_event, filters)


def _show_event(one: AdminEvent) -> Shown:
    return {**show_event(one), "undo": undo_of(one)}


@dataclass(frozen=True, slots=True)
class KeyRequestRoutes:
    """Requests for keys: the form for everybody, and decisions on them. `proves_email`: an address
    opens an account at the sign-in provider, and that of a form may be somebody else's."""

    desk: Desk
    requests: KeyRequests
    proves_email: bool = False

    async def submit(self, request: Request, client: Client) -> None:
        """POST /key-requests"""
        body, _ = await self.desk.read(request, client, bodies.FormBody)
        form = Form(body.name, body.email, body.reason)
        made, text = await self.requests.submit(form, self.desk.source(client))
        await self.desk.send(client, {**show_own_request(made), "key": text}, 202)

    async def status(self, _: Request, client: Client) -> None:
        """GET /key-requests/{id}"""
        presented = secret_of(client.scope["headers"])
        found = await self.requests.status(parameter(client), presented)
        await self.desk.send(client, show_own_request(found))

    async def page(self, _: Request, client: Client) -> None:
        """GET /admin/key-requests"""
        filters = ("status", "search", "order")
        await self.desk.send_page(client, self.requests.page, show_request, filters)

    async def get(self, _: Request, client: Client) -> None:
        """GET /admin/key-requests/{id}"""
        await self.desk.send(client, show_request(await self.requests.get(parameter(client))))

    async def approve(self, request: Request, client: Client) -> None:
        """POST /admin/key-requests/{id}/approve"""
        body, actor = await self.desk.read(request, client, bodies.ApprovalBody)
        asked = await self.requests.get(parameter(client))
        email = None if self.proves_email else asked.email
        user = NewUser(body.name or asked.name, body.role, body.group_id, "", email)
        expires_at_us = bodies.instant_us(body.expires_at)
        scopes = (body.models, body.endpoints, body.networks)
        key = NewKey(body.key_name, *scopes, expires_at_us, key_budget(body.budget))
        decided = await self.requests.approve(actor, asked.id, Approval(user, key))
        await self.desk.send(client, show_request(decided))

    async def refuse(self, request: Request, client: Client) -> None:
        """POST /admin/key-requests/{id}/refuse"""
        body, actor = await self.desk.read(request, client, bodies.RefusalBody)
        decided = await self.requests.refuse(actor, parameter(client), body.note)
        await self.desk.send(client, show_request(decided))
