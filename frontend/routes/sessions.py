"""`/me/sessions`: lists the caller's sessions and ends the ones that the caller does not know."""

from dataclasses import dataclass

from frontend.accounts.cookies import Cookies
from frontend.accounts.sessions import Listed, Sessions
from frontend.accounts.signins import Source
from frontend.dialects.admin.answers import Shown, render, render_deleted
from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.routes.accounts import Desk, parameter

_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class SessionRoutes:
    """The caller's own sessions; those of others do not exist here."""

    desk: Desk
    sessions: Sessions
    cookies: Cookies

    async def list(self, request: Request, client: Client) -> None:
        """GET /me/sessions"""
        found = await self.sessions.of_user(request.user, self._token(client))
        body = render({"object": "list", "data": [_show(one) for one in found]})
        await client.respond(body)

    async def end(self, request: Request, client: Client) -> None:
        """DELETE /me/sessions/{id}"""
        source = self._source(request, client)
        await self.sessions.end_one(request.user, parameter(client), source)
        await client.respond(render_deleted("session", parameter(client)))

    async def end_others(self, request: Request, client: Client) -> None:
        """POST /me/sessions/end-others"""
        source = self._source(request, client)
        ended = await self.sessions.end_others(request.user, self._token(client), source)
        await self.desk.send(client, {"object": "sessions.ended", "ended": ended})

    def _token(self, client: Client) -> bytes:
        return self.cookies.read(client.scope["headers"], "session")

    def _source(self, request: Request, client: Client) -> Source:
        address = self.desk.source(client)
        return Source(address, request_id=request.outcome.id, method="session")


def _show(one: Listed) -> Shown:
    return {
        "id": one.id,
        "object": "session",
        "current": one.is_current,
        "address": one.address,
        "user_agent": one.agent,
        "created_at": one.created_at_us // _SECOND_US,
        "last_used_at": one.seen_at_us // _SECOND_US,
        "expires_at": one.expires_at_us // _SECOND_US,
    }
