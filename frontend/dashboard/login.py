"""`/login` and `/logout`: the form to sign in, and the end of a session."""

from dataclasses import dataclass

import orjson

from frontend.dashboard.forms import FORM_S, MAX_FORM, Forms, sentence
from frontend.dashboard.pages import PAGE
from frontend.dashboard.places import local_place, to_cookie
from frontend.dashboard.single import SignOn
from frontend.domain.request import Request
from frontend.errors import GatewayError, InvalidRequest
from frontend.http.accept import wants_page
from frontend.http.client import Client
from frontend.http.origin import origin_of
from frontend.http.query import query_of


@dataclass(frozen=True, slots=True)
class LoginRoutes:
    """Begins and ends sessions."""

    forms: Forms
    sign_on: SignOn | None = None
    public_url: str = ""

    async def show(self, _: Request, client: Client) -> None:
        """GET /login"""
        headers = []
        # a cookie, so that it outlasts the provider's pages and the steps after a password
        if place := local_place(query_of(client).get("next", "")):
            cookies = self.forms.cookies
            headers = [cookies.write("next", to_cookie(place), FORM_S, hidden=True)]
        await self.forms.sign_in_page(client, headers=headers)

    async def submit(self, request: Request, client: Client) -> None:
        """POST /login"""
        name, password, csrf = await self.forms.read(client, "name", "password")
        if not self.forms.is_ours(client, "form", csrf):
            expired = InvalidRequest(
                "this form has expired, or the browser refuses cookies; allow cookies and try again"
            )
            await self._refuse(client, expired, name)
            return
        source = self.forms.source(request, client)
        try:
            begun = await self.forms.sessions.sign_in(name, password, source)
        except GatewayError as error:
            await self._refuse(client, error, name)
            return
        await self.forms.go_on(client, begun)

    async def logout(self, request: Request, client: Client) -> None:
        """POST /logout"""
        await client.discard(MAX_FORM)
        cookies = self.forms.cookies
        if token := self.forms.cookie(client, "session"):
            await self.forms.sessions.end(token, self.forms.source(request, client))
        headers = [cookies.write(one, "", 0, hidden=True) for one in ("session", "csrf", "via")]
        answer: dict[str, object] = {"signed_out": True}
        if self.forms.cookie(client, "via") and (place := await self._provider_page(client)):
            answer["provider_logout"] = place
        await client.respond(orjson.dumps(answer), headers=[*headers, *PAGE])

    async def _provider_page(self, client: Client) -> str | None:
        """Where who signed in with the provider ends its session, too."""
        if self.sign_on is None:
            return None
        return await self.sign_on.end(origin_of(client, self.public_url) + "/login")

    async def _refuse(self, client: Client, error: GatewayError, name: str) -> None:
        # programs get the error that every route gives
        if not wants_page(client.scope["headers"]):
            raise error
        await self.forms.sign_in_page(client, error.status, sentence(error), name=name)
