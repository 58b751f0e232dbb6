"""`/admin/queue`: who waits and why; `/admin/queue/decisions`: the last decisions."""

from dataclasses import dataclass

from frontend.dialects.admin.answers import render
from frontend.dialects.admin.query import parse_query
from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.scheduling.queue import Queue
from frontend.scheduling.report import Shown, show_decisions, show_queue
from frontend.upstreams.placement import Places


@dataclass(frozen=True, slots=True)
class QueueRoutes:
    """The queue of this gateway process."""

    queue: Queue
    places: Places

    async def show(self, _: Request, client: Client) -> None:
        """GET /admin/queue"""
        await client.respond(render(show_queue(self.queue)))

    async def decisions(self, _: Request, client: Client) -> None:
        """GET /admin/queue/decisions"""
        query = parse_query(client.scope["query_string"], ("user_id", "model"))
        given = query.filters
        # a request that was sent again has one for each upstream
        chosen: dict[tuple[str, str | None], Shown] = {
            (one.call_id, one.chosen): {"candidates": one.terms, "stale": one.stale}
            for one in self.places.decisions
        }
        shown = show_decisions(
            self.queue, query.limit, given.get("user_id"), given.get("model"), chosen
        )
        await client.respond(render({"object": "list", "data": shown}))
