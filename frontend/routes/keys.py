"""`/admin/keys`, `/me` and `/me/keys`: the keys of all users, and the caller's own account."""

from dataclasses import dataclass

from frontend.accounts.directory.keys import Keys, MadeKey, NewKey
from frontend.accounts.directory.quota_requests import QuotaRequests
from frontend.accounts.directory.users import Users
from frontend.dialects.admin import bodies
from frontend.dialects.admin.answers import (
    Shown,
    render_deleted,
    show_key,
    show_made_key,
    show_user,
)
from frontend.dialects.admin.quotas import show_quota_request
from frontend.domain.request import Request
from frontend.errors import Forbidden
from frontend.http.client import Client
from frontend.routes.accounts import Browsers, Desk, key_budget, parameter


@dataclass(frozen=True, slots=True)
class KeyRoutes:
    """Keys. `own`: only the caller's; the keys of others do not exist then."""

    desk: Desk
    keys: Keys
    own: bool

    async def page(self, request: Request, client: Client) -> None:
        """GET /admin/keys, GET /me/keys"""
        filters = () if self.own else ("user_id", "search", "ids")
        fixed = {"user_id": request.user} if self.own else {}
        await self.desk.send_page(client, self.keys.page, show_key, filters, **fixed)

    async def create(self, request: Request, client: Client) -> None:
        """POST /admin/keys"""
        body, actor = await self.desk.read(request, client, bodies.KeyBody)
        made = await self.keys.create(actor, body.user_id, _new_key(body))
        await self.desk.send(client, _shown(made), 201)

    async def create_own(self, request: Request, client: Client) -> None:
        """POST /me/keys"""
        body, actor = await self.desk.read(request, client, bodies.OwnKeyBody)
        made = await self.keys.create(actor, request.user, _new_key(body))
        await self.desk.send(client, _shown(made), 201)

    async def get(self, request: Request, client: Client) -> None:
        """GET /admin/keys/{id}, GET /me/keys/{id}"""
        found = await self.keys.get(parameter(client), self._owner(request))
        await self.desk.send(client, show_key(found))

    async def edit(self, request: Request, client: Client) -> None:
        """PATCH /admin/keys/{id}, PATCH /me/keys/{id}"""
        body, actor = await self.desk.read(request, client, bodies.KeyEdit)
        key_id, owner = parameter(client), self._owner(request)
        edited = await self.keys.edit(actor, key_id, bodies.changed(body), owner)
        await self.desk.send(client, show_key(edited))

    async def rotate(self, request: Request, client: Client) -> None:
        """POST /admin/keys/{id}/rotate, POST /me/keys/{id}/rotate"""
        body, actor = await self.desk.read(request, client, bodies.RotationBody)
        key_id, owner = parameter(client), self._owner(request)
        made = await self.keys.rotate(actor, key_id, body.grace_s, owner)
        await self.desk.send(client, _shown(made))

    async def delete(self, request: Request, client: Client) -> None:
        """DELETE /admin/keys/{id}, DELETE /me/keys/{id}"""
        actor = self.desk.actor(request, client)
        await self.keys.delete(actor, parameter(client), self._owner(request))
        await client.respond(render_deleted("key", parameter(client)))

    def _owner(self, request: Request) -> str | None:
        return request.user if self.own else None


@dataclass(frozen=True, slots=True)
class MeRoutes:
    """The caller's own account. `proves_email`: an address opens an account at the sign-in
    provider, so nobody can write somebody else's into their own."""

    desk: Desk
    users: Users
    quota_requests: QuotaRequests
    browsers: Browsers
    proves_email: bool = False

    async def get(self, request: Request, client: Client) -> None:
        """GET /me"""
        user = await self.users.get(request.user)
        role = request.caller.role
        rights = sorted(permission.value for permission in role.permissions)
        key = {"key_id": request.caller.key, "permissions": rights, "weight": role.weight}
        organisation = {"organisation_id": request.caller.organisation}
        unseen = [show_quota_request(one) for one in await self.quota_requests.unseen(user.id)]
        answers = {"unseen_decisions": unseen}
        await self.desk.send(client, {**show_user(user), **organisation, **key, **answers})

    async def edit(self, request: Request, client: Client) -> None:
        """PATCH /me"""
        body, actor = await self.desk.read(request, client, bodies.OwnEdit)
        if self.proves_email and body.email:
            raise Forbidden(
                "'email' can be changed by an administrator only, since people sign in with it",
                param="email",
            )
        edited = await self.users.edit(actor, request.user, bodies.changed(body))
        await self.desk.send(client, show_user(edited))

    async def change_password(self, request: Request, client: Client) -> None:
        """POST /me/password"""
        body, actor = await self.desk.read(request, client, bodies.PasswordBody)
        actor = await self.browsers.place(client, actor)
        await self.users.change_password(actor, body.current_password, body.new_password)
        await self.desk.send(client, {"id": request.user, "object": "user", "changed": True})


def _new_key(body: bodies.OwnKeyBody) -> NewKey:
    expires_at_us = bodies.instant_us(body.expires_at)
    budget = key_budget(body.budget)
    return NewKey(body.name, body.models, body.endpoints, body.networks, expires_at_us, budget)


def _shown(made: MadeKey) -> Shown:
    return show_made_key(made.key, made.text)
