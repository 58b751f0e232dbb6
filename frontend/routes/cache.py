"""`/admin/cache`: what the response cache holds and did; and emptying it."""

from dataclasses import dataclass

from frontend.dialects.admin.cache import PurgeBody, show_cache
from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.purging import Purging
from frontend.routes.accounts import Desk


@dataclass(frozen=True, slots=True)
class CacheRoutes:
    """The response cache; `purging` is None where it is off."""

    desk: Desk
    purging: Purging | None

    async def show(self, _: Request, client: Client) -> None:
        """GET /admin/cache"""
        if self.purging is None:
            await self.desk.send(client, {"object": "cache", "enabled": False})
            return
        facts = await self.purging.facts()
        await self.desk.send(client, {"object": "cache", "enabled": True, **show_cache(facts)})

    async def purge(self, request: Request, client: Client) -> None:
        """POST /admin/cache/purge"""
        body, actor = await self.desk.read(request, client, PurgeBody)
        gone = 0
        if self.purging is not None:
            gone = await self.purging.purge(actor, body.owner or "", body.model or "")
        await self.desk.send(client, {"object": "cache.purge", "deleted": gone})
