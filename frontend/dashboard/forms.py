"""Reads forms that work without scripts, and checks their CSRF token.

The token belongs to a cookie, so pages of other sites cannot submit a form.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from frontend.accounts.cookies import Cookies, csrf_of, is_csrf
from frontend.accounts.sessions import Begun, Sessions
from frontend.accounts.signins import Source
from frontend.accounts.throttle import subject_of
from frontend.dashboard.pages import PAGE, render
from frontend.dashboard.places import from_cookie
from frontend.domain.identity import Network
from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.http.source import source_of

MAX_FORM = 8192
BROWSER_S = 400 * 24 * 3600
"""How long a browser is known: the most that browsers keep a cookie."""
STEP_S = 600
_MAX_AGENT = 300
FORM_S = 3600
_HTML = b"text/html; charset=utf-8"
Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Forms:
    """Reads forms of people who sign in, and answers them."""

    sessions: Sessions
    cookies: Cookies
    proxies: tuple[Network, ...] = ()
    provider: str = ""
    """The name of the provider that people may sign in with; "" without one."""

    async def read(self, client: Client, *names: str) -> list[str]:
        """The fields of a form, "" for one that is missing; the last one is its token."""
        parts = [part async for part in client.read_parts(MAX_FORM)]
        given = parse_qs(b"".join(parts).decode("utf-8", "replace"), max_num_fields=20)
        return [given.get(one, [""])[0] for one in (*names, "csrf")]

    def cookie(self, client: Client, name: str) -> bytes:
        """The value of a cookie; empty without it."""
        return self.cookies.read(client.scope["headers"], name)

    def is_ours(self, client: Client, cookie: str, csrf: str) -> bool:
        """Whether the form's token belongs to this cookie."""
        token = self.cookie(client, cookie)
        return bool(token) and is_csrf(token, csrf.encode())

    def source(self, request: Request, client: Client, method: str = "password") -> Source:
        """The source of an attempt to sign in."""
        address = source_of(client.scope, self.proxies)
        browser = self.cookie(client, "browser").decode("latin-1")[:500]
        given = (value for name, value in client.scope["headers"] if name == b"user-agent")
        agent = next(given, b"").decode("latin-1")[:_MAX_AGENT]
        return Source(address, subject_of(address), request.outcome.id, browser, method, agent)

    async def send(
        self, client: Client, template: str, status: int, headers: list[Header], **values: object
    ) -> None:
        """A page with a form."""
        page = render(template, **values)
        await client.respond(page, status=status, headers=[*headers, *PAGE], kind=_HTML)

    async def go(self, client: Client, place: str, headers: list[Header]) -> None:
        """Redirects the browser to another page."""
        moved = [(b"location", place.encode()), *headers, *PAGE]
        await client.respond(b"", status=303, headers=moved, kind=_HTML)

    async def sign_in_page(
        self,
        client: Client,
        status: int = 200,
        problem: str = "",
        headers: Sequence[Header] = (),
        name: str = "",
    ) -> None:
        """The form for a name and a password, and the way to the provider."""
        token = secrets.token_urlsafe(32)
        cookie = self.cookies.write("form", token, FORM_S, hidden=True)
        values = {"csrf": csrf_of(token.encode()), "problem": problem, "name": name[:256]}
        await self.send(
            client, "login.html", status, [cookie, *headers], **values, provider=self.provider
        )

    async def go_on(self, client: Client, begun: Begun, also: Sequence[Header] = ()) -> None:
        """Redirects to the account, or to the missing step. `also`: further headers."""
        if begun.stage:
            step = self.cookies.write("step", begun.token, STEP_S, hidden=True)
            await self.go(client, f"/login/{begun.stage}", [*also, step])
            return
        place = self.place(client)
        await self.go(client, place, [*also, *await self.arrive(client, begun)])

    def place(self, client: Client) -> str:
        """The page to redirect to after the sign-in."""
        return from_cookie(self.cookie(client, "next"))

    async def arrive(self, client: Client, begun: Begun) -> list[Header]:
        """The cookies of a new session."""
        # the session that the browser had, if any, does not continue beside the new one
        if before := self.cookie(client, "session"):
            await self.sessions.end(before)
        age_s, csrf = self.sessions.lifetimes.longest_s, csrf_of(begun.token.encode())
        headers = [
            self.cookies.write("session", begun.token, age_s, hidden=True),
            self.cookies.write("csrf", csrf, age_s, hidden=False),
            *(self.cookies.write(one, "", 0, hidden=True) for one in ("form", "step", "next")),
        ]
        if begun.browser:
            headers.append(self.cookies.write("browser", begun.browser, BROWSER_S, hidden=True))
        return headers


def sentence(error: Exception) -> str:
    """An error's text as a sentence for a page."""
    text = str(error)
    return text[:1].upper() + text[1:] + "."
