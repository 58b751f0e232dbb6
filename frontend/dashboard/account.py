"""`GET /dashboard`: the own account. The page is the same for everybody; its script fills it from
the JSON API that every client has.
"""

from dataclasses import dataclass

from frontend.dashboard.pages import respond
from frontend.domain.request import Request
from frontend.http.client import Client


@dataclass(frozen=True, slots=True)
class AccountRoutes:
    """The page of a user who is signed in."""

    async def show(self, _: Request, client: Client) -> None:
        """GET /dashboard"""
        await respond(client, "dashboard.html")
