"""`GET /playground`: every kind of model, tried in the browser.

The page is the same for everybody: its script calls the routes that every client calls, with the
key that its user enters, and keeps nothing.
"""

from dataclasses import dataclass

from frontend.dashboard.pages import respond
from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.http.origin import origin_of


@dataclass(frozen=True, slots=True)
class PlaygroundRoutes:
    """`public_url`: where the calls go; empty: as the client reached the gateway."""

    public_url: str

    async def show(self, _: Request, client: Client) -> None:
        """GET /playground"""
        url = origin_of(client, self.public_url)
        await respond(client, "playground.html", url=url)
