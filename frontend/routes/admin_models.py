"""Models for operators: their state at every upstream, loading and unloading."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from frontend.accounts.directory.actor import Actor
from frontend.dialects.admin.models import ModelChangeBody, show_model
from frontend.domain.copies import StoredModel
from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.management import Management
from frontend.routes.accounts import Desk, parameter
from frontend.store.records import Range

Change = Callable[[Actor, str, str | None, float], Awaitable[StoredModel]]
_ANSWER_S = 1.0
"""What is left of the request's time for its answer."""
_CHANGING = {"loading", "unloading"}


@dataclass(frozen=True, slots=True)
class ManagedModelRoutes:
    """Models of all upstreams."""

    desk: Desk
    management: Management

    async def list(self, request: Request, client: Client) -> None:
        """GET /admin/models"""
        scope = request.caller.scope

        async def page(part: Range, **filters: str) -> Sequence[StoredModel]:
            models = [one for one in await self.management.all(scope) if _fits(one, **filters)]
            return [one for one in models if one.name > part.after][: part.limit]

        await self.desk.send_page(client, page, show_model, ("upstream", "state"))

    async def get(self, request: Request, client: Client) -> None:
        """GET /admin/models/{model}"""
        name = parameter(client, "model")
        await self.desk.send(
            client, show_model(await self.management.get(request.caller.scope, name))
        )

    async def load(self, request: Request, client: Client) -> None:
        """POST /admin/models/load"""
        await self._change(request, client, self.management.load)

    async def unload(self, request: Request, client: Client) -> None:
        """POST /admin/models/unload"""
        await self._change(request, client, self.management.unload)

    async def _change(self, request: Request, client: Client, change: Change) -> None:
        body, actor = await self.desk.read(request, client, ModelChangeBody)
        wait_s = max(0.0, request.left_s - _ANSWER_S)
        if body.wait_s is not None:
            wait_s = min(wait_s, body.wait_s)
        with client.watched():
            one = await change(actor, body.model, body.upstream, wait_s)
        begun = any(copy.state in _CHANGING for copy in one.copies)
        await self.desk.send(client, show_model(one), 202 if begun else 200)


def _fits(one: StoredModel, upstream: str | None = None, state: str | None = None) -> bool:
    """Whether a copy is at that upstream, and the model, or that copy, in that state."""
    copies = [copy for copy in one.copies if upstream in (None, copy.upstream)]
    if not copies:
        return False
    known = one.state if upstream is None else copies[0].state
    return state in (None, known)
