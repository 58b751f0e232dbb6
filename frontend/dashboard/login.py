"""`/login` and `/logout`: the form to sign in, and the end of a session."""

import secrets
from dataclasses import dataclass

from frontend.accounts.cookies import csrf_of
from frontend.dashboard.forms import MAX_FORM, Forms, sentence
from frontend.dashboard.pages import PAGE
from frontend.domain.request import Request
from frontend.errors import GatewayError, InvalidRequest
from frontend.http.accept import wants_page
from frontend.http.client import Client

_FORM_S = 3600


@dataclass(frozen=True, slots=True)
class LoginRoutes:
    """Begins and ends sessions."""

    forms: Forms

    async def show(self, _: Request, client: Client) -> None:
        """GET /login"""
        await self._form(client)

    async def submit(self, request: Request, client: Client) -> None:
        """POST /login"""
        name, password, csrf = await self.forms.read(client, "name", "password")
        if not self.forms.is_ours(client, "form", csrf):
            expired = InvalidRequest("this form has expired, or cookies are off: try again")
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
        headers = [cookies.write(one, "", 0, hidden=True) for one in ("session", "csrf")]
        await client.respond(b'{"signed_out": true}', headers=[*headers, *PAGE])

    async def _refuse(self, client: Client, error: GatewayError, name: str) -> None:
        # programs get the error that every route gives
        if not wants_page(client.scope["headers"]):
            raise error
        await self._form(client, error.status, sentence(error), name)

    async def _form(
        self, client: Client, status: int = 200, problem: str = "", name: str = ""
    ) -> None:
        token = secrets.token_urlsafe(32)
        headers = [self.forms.cookies.write("form", token, _FORM_S, hidden=True)]
        await self.forms.send(
            client,
            "login.html",
            status,
            headers,
            csrf=csrf_of(token.encode()),
            problem=problem,
            name=name[:256],
        )
