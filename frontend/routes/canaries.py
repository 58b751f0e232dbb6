"""`/admin/canaries`: models that share the requests for a name, and how each of them does."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from frontend.accounts.directory.canaries import Canaries, NewCanary
from frontend.accounts.scopes import allows_model
from frontend.dialects.admin.canaries import (
    CanaryBody,
    CanaryEdit,
    PromoteBody,
    changes_of,
    show_canary,
    targets_of,
)
from frontend.domain.canaries import Canary
from frontend.domain.request import Request
from frontend.errors import ModelNotFound, StoreUnavailable
from frontend.generation.shares import Rule, Shares
from frontend.http.client import Client
from frontend.routes.accounts import Desk, parameter
from frontend.store.records import Range
from frontend.upstreams.need import NOTHING
from frontend.upstreams.roster import Roster


@dataclass(frozen=True, slots=True)
class CanaryRoutes:
    """Canaries. `roster` follows the database."""

    desk: Desk
    canaries: Canaries
    shares: Shares
    roster: Roster

    async def page(self, request: Request, client: Client) -> None:
        """GET /admin/canaries"""

        async def page(part: Range) -> list[Canary]:
            found = await self.canaries.page(part)
            return [one for one in found if allows_model(request.caller.scope, (one.name,))]

        await self.desk.send_page(client, page, self._show)

    async def get(self, request: Request, client: Client) -> None:
        """GET /admin/canaries/{id}"""
        one = await self.canaries.get(parameter(client))
        if not allows_model(request.caller.scope, (one.name,)):
            raise ModelNotFound(one.name)
        await self.desk.send(client, self._show(one))

    async def create(self, request: Request, client: Client) -> None:
        """POST /admin/canaries"""
        body, actor = await self.desk.read(request, client, CanaryBody)
        new = NewCanary(
            body.model,
            targets_of(body.targets),
            body.sticky,
            body.max_error_percent,
            body.min_requests,
        )
        made = await self.canaries.create(actor, new)
        await self._follow()
        await self.desk.send(client, self._show(made), 201)

    async def edit(self, request: Request, client: Client) -> None:
        """PATCH /admin/canaries/{id}"""
        body, actor = await self.desk.read(request, client, CanaryEdit)
        values, revision = changes_of(body)
        edited = await self.canaries.edit(actor, parameter(client), values, revision)
        await self._follow()
        await self.desk.send(client, self._show(edited))

    async def promote(self, request: Request, client: Client) -> None:
        """POST /admin/canaries/{id}/promote"""
        body, actor = await self.desk.read(request, client, PromoteBody)
        promoted = await self.canaries.promote(actor, parameter(client), body.target)
        await self._follow()
        await self.desk.send(client, self._show(promoted))

    async def delete(self, request: Request, client: Client) -> None:
        """DELETE /admin/canaries/{id}"""
        gone = await self.canaries.delete(self.desk.actor(request, client), parameter(client))
        await self._follow()
        await self.desk.send(client, {"id": gone.id, "object": "canary", "deleted": True})

    async def _follow(self) -> None:
        """Applies a change to this gateway before the answer, which shows its effect."""
        with suppress(StoreUnavailable, TimeoutError):
            await self.roster.take_up()

    def _show(self, one: Canary) -> dict[str, Any]:
        rule = self.shares.rules.get(one.name)
        if rule is None:
            return show_canary(one)
        known = {target.model: self._figures(rule, target.model) for target in rule.targets}
        return show_canary(one, known)

    def _figures(self, rule: Rule, model: str) -> dict[str, Any]:
        """What all gateways have seen of a target."""
        seen = self.shares.result(rule, model)
        state = "ready" if self.shares.places.serves(model, NOTHING) else "unavailable"
        return {
            "state": "withdrawn" if model in rule.withdrawn else state,
            "requests": seen.requests,
            "errors": seen.errors,
            "error_percent": round(100 * seen.errors / seen.requests, 2) if seen.requests else None,
            "first_token_ms": seen.first_token_ms,
        }
