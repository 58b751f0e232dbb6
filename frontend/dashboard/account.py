"""`GET /dashboard`: the user's account, and `GET /request-key`: for people without an account. The
pages are the same for everybody; their scripts use the JSON API that every client has.
"""

from dataclasses import dataclass

from frontend.dashboard.pages import respond
from frontend.domain.request import Request
from frontend.http.client import Client


@dataclass(frozen=True, slots=True)
class AccountRoutes:
    """`provider` is the name of the sign-in provider; "" without one."""

    provider: str = ""

    async def show(self, _: Request, client: Client) -> None:
        """GET /dashboard"""
        await respond(client, "dashboard.html", provider=self.provider)

    async def ask(self, _: Request, client: Client) -> None:
        """GET /request-key"""
        await respond(client, "request.html")
