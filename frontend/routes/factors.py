"""`/me/second-factor`, and its reset by an administrator."""

from dataclasses import dataclass

from frontend.accounts.directory.factors import Factors
from frontend.dialects.admin import bodies
from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.routes.accounts import Browsers, Desk, parameter


@dataclass(frozen=True, slots=True)
class FactorRoutes:
    """Second factors."""

    desk: Desk
    factors: Factors
    browsers: Browsers

    async def get(self, request: Request, client: Client) -> None:
        """GET /me/second-factor"""
        is_on, left = await self.factors.state(request.user)
        shown = {"object": "second_factor", "enabled": is_on, "recovery_codes_left": left}
        await self.desk.send(client, shown)

    async def set_up(self, request: Request, client: Client) -> None:
        """POST /me/second-factor"""
        body, actor = await self.desk.read(request, client, bodies.FactorBody)
        actor = await self.browsers.place(client, actor)
        made = await self.factors.set_up(actor, body.current_password)
        shown = {"secret": made.secret, "uri": made.address, "image": made.image}
        await self.desk.send(client, {"object": "second_factor.setup", **shown}, 201)

    async def confirm(self, request: Request, client: Client) -> None:
        """POST /me/second-factor/confirm"""
        body, actor = await self.desk.read(request, client, bodies.CodeBody)
        codes = await self.factors.confirm(actor, body.code)
        shown = {"object": "second_factor", "enabled": True, "recovery_codes": codes}
        await self.desk.send(client, shown)

    async def remove(self, request: Request, client: Client) -> None:
        """POST /me/second-factor/remove"""
        body, actor = await self.desk.read(request, client, bodies.CodeBody)
        actor = await self.browsers.place(client, actor)
        await self.factors.remove(actor, body.code)
        await self.desk.send(client, {"object": "second_factor", "enabled": False})

    async def reset(self, request: Request, client: Client) -> None:
        """DELETE /admin/users/{id}/second-factor"""
        await self.factors.reset(self.desk.actor(request, client), parameter(client))
        shown = {"object": "second_factor", "id": parameter(client), "enabled": False}
        await self.desk.send(client, shown)
