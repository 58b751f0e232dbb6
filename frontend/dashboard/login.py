"""`/login` and `/logout`: the form to sign in, and the end of a session.

The form works without scripts. Its token belongs to a cookie that was set with it, so a page of
somebody else cannot sign a browser in.
"""

import secrets
from dataclasses import dataclass
from urllib.parse import parse_qs

from frontend.accounts.cookies import Cookies, csrf_of, is_csrf
from frontend.accounts.sessions import LONGEST_US, Sessions
from frontend.accounts.throttle import subject_of
from frontend.dashboard.pages import PAGE, render
from frontend.domain.identity import Network
from frontend.domain.request import Request
from frontend.errors import GatewayError, InvalidRequest
from frontend.http.accept import wants_page
from frontend.http.client import Client
from frontend.http.source import source_of

_MAX_FORM = 8192
_FORM_S = 3600
_HTML = b"text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class LoginRoutes:
    """Begins and ends sessions."""

    sessions: Sessions
    cookies: Cookies
    proxies: tuple[Network, ...] = ()

    async def show(self, _: Request, client: Client) -> None:
        """GET /login"""
        await self._form(client)

    async def submit(self, _: Request, client: Client) -> None:
        """POST /login"""
        parts = [part async for part in client.read_parts(_MAX_FORM)]
        given = parse_qs(b"".join(parts).decode("utf-8", "replace"), max_num_fields=20)
        name, password, csrf = (given.get(one, [""])[0] for one in ("name", "password", "csrf"))
        token = self.cookies.read(client.scope["headers"], "form")
        if not token or not is_csrf(token, csrf.encode()):
            expired = InvalidRequest("this form has expired, or cookies are off: try again")
            await self._refuse(client, expired, name)
            return
        subject = subject_of(source_of(client.scope, self.proxies))
        try:
            session = await self.sessions.sign_in(name, password, subject)
        except GatewayError as error:
            await self._refuse(client, error, name)
            return
        # the session that the browser had, if any, does not go on beside the new one
        if before := self.cookies.read(client.scope["headers"], "session"):
            await self.sessions.end(before)
        age_s = LONGEST_US // 1_000_000
        headers = [
            (b"location", b"/dashboard"),
            self.cookies.write("session", session, age_s, hidden=True),
            self.cookies.write("csrf", csrf_of(session.encode()), age_s, hidden=False),
            self.cookies.write("form", "", 0, hidden=True),
        ]
        await client.respond(b"", status=303, headers=[*headers, *PAGE], kind=_HTML)

    async def logout(self, _: Request, client: Client) -> None:
        """POST /logout"""
        await client.discard(_MAX_FORM)
        if token := self.cookies.read(client.scope["headers"], "session"):
            await self.sessions.end(token)
        headers = [self.cookies.write(one, "", 0, hidden=True) for one in ("session", "csrf")]
        await client.respond(b'{"signed_out": true}', headers=[*headers, *PAGE])

    async def _refuse(self, client: Client, error: GatewayError, name: str) -> None:
        # programs get the error that every route gives
        if not wants_page(client.scope["headers"]):
            raise error
        await self._form(client, error.status, _sentence(str(error)), name)

    async def _form(
        self, client: Client, status: int = 200, problem: str = "", name: str = ""
    ) -> None:
        token = secrets.token_urlsafe(32)
        page = render("login.html", csrf=csrf_of(token.encode()), problem=problem, name=name[:256])
        headers = [self.cookies.write("form", token, _FORM_S, hidden=True), *PAGE]
        await client.respond(page, status=status, headers=headers, kind=_HTML)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
