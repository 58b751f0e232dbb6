"""`/admin/overview`, `/admin/live` and `/admin/alerts`: what the gateway does at this moment.

The stream is one and the same for all viewers, but those who may not see the queue of every user
get it without. It ends with the session or the key that it was opened with.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import orjson

from frontend.accounts.roles import allows
from frontend.dialects.admin.answers import render
from frontend.domain.identity import Permission
from frontend.domain.request import Request
from frontend.generation.overview import Overview
from frontend.http.client import Client
from frontend.http.failures import render_event
from frontend.http.feed import Feed, View
from frontend.http.sse import Heartbeat, send_stream

_PRIVATE = [(b"cache-control", b"no-store")]
_INTERVAL_S = 2.0
_RECHECK_S = 5.0
_RETRY = b"retry: 3000\n\n"
Headers = Iterable[tuple[bytes, bytes]]
Snapshot = tuple[bytes, bytes]
"""The event without the queue's users, and with them."""


@dataclass(frozen=True, slots=True)
class LiveRoutes:
    """`holds`: whether the session or key in these headers still has the permission."""

    overview: Overview
    holds: Callable[[Headers, Permission], Awaitable[bool]]
    heartbeat_s: float
    interval_s: float = _INTERVAL_S
    recheck_s: float = _RECHECK_S
    feed: Feed[Snapshot] = field(init=False)

    def __post_init__(self) -> None:
        feed = Feed(partial(_snapshot, self.overview), self.interval_s)
        object.__setattr__(self, "feed", feed)

    async def show(self, request: Request, client: Client) -> None:
        """GET /admin/overview"""
        shown = self.overview.show()
        if allows(request.caller.role, Permission.USAGE):
            shown["queue"] = self.overview.show_share()
        await client.respond(render(shown), headers=_PRIVATE)

    async def alerts(self, _: Request, client: Client) -> None:
        """GET /admin/alerts"""
        holding = self.overview.alerts.check()
        page = {"object": "list", "data": holding, "has_more": False, "next_after": None}
        await client.respond(render(page), headers=_PRIVATE)

    async def stream(self, request: Request, client: Client) -> None:
        """GET /admin/live"""
        failure = partial(render_event, outcome=request.outcome)
        heartbeat = Heartbeat(self.heartbeat_s)
        with self.feed.viewing(request.user) as view, client.watched():
            await send_stream(client.send, self._events(request, client, view), heartbeat, failure)

    async def _events(
        self, request: Request, client: Client, view: View[Snapshot]
    ) -> AsyncGenerator[bytes, None]:
        yield _RETRY
        sees_queue = allows(request.caller.role, Permission.USAGE)
        checked_s = time.monotonic()
        while not self.overview.path.draining:
            yield (await view.next())[sees_queue]
            # a read of the database each, so not with every event
            if time.monotonic() - checked_s >= self.recheck_s:
                if not await self.holds(client.scope["headers"], Permission.OBSERVE):
                    yield _end("signed_out")
                    return
                checked_s = time.monotonic()
        yield _end("stopping")


def _snapshot(overview: Overview) -> Snapshot:
    shown = overview.show()
    plain = orjson.dumps(shown)
    whole = orjson.dumps({**shown, "queue": overview.show_share()})
    return b"data: " + plain + b"\n\n", b"data: " + whole + b"\n\n"


def _end(reason: str) -> bytes:
    return b"event: end\ndata: " + orjson.dumps({"reason": reason}) + b"\n\n"
