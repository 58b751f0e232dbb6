"""`/login/oidc`: redirects to the sign-in provider, and handles its answer.

The state of one sign-in is in a cookie for ten minutes: an answer in another browser, a second
answer, or one without a sign-in is refused.
"""

import hmac
import secrets
from dataclasses import dataclass
from typing import Protocol

from frontend.accounts.signins import Refused, Source
from frontend.accounts.throttle import Throttle
from frontend.dashboard.forms import STEP_S, Forms, sentence
from frontend.domain.accounts import User
from frontend.domain.request import Request
from frontend.errors import Forbidden, GatewayError, NotFound, RateLimited
from frontend.http.client import Client
from frontend.http.origin import origin_of
from frontend.http.query import query_of
from frontend.turns import Turns

_CALLBACK = "/login/oidc/callback"
_LINK = "link"


class SignOn(Protocol):
    """The provider and its rules, loaded only if a provider is configured."""

    async def begin(self, made: tuple[str, str, str], back: str) -> str:
        """The page of the provider that a browser goes to."""

    async def finish(
        self, made: tuple[str, str, str], back: str, answer: dict[str, str], signed_in: str
    ) -> User:
        """The account of the signed-in user. Raises Forbidden if the sign-in failed, and Overloaded
        while the provider does not answer."""

    async def end(self, back: str) -> str | None:
        """The page of the provider that ends its own session."""


@dataclass(frozen=True, slots=True)
class SingleRoutes:
    """Sign-ins through the provider; `sign_on` of None: there is none."""

    forms: Forms
    sign_on: SignOn | None
    public_url: str
    throttle: Throttle
    turns: Turns

    async def go(self, _: Request, client: Client) -> None:
        """GET /login/oidc"""
        made = secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        # an identity is linked only where that was asked for: browsers are shared
        intent = _LINK if query_of(client).get("link") == "1" else ""
        try:
            place = await self._provider().begin(made, self._back(client))
        except GatewayError as error:
            await self._fail(client, error)
            return
        cookie = self.forms.cookies.write("oidc", ".".join([*made, intent]), STEP_S, hidden=True)
        await self.forms.go(client, place, [cookie])

    async def answer(self, request: Request, client: Client) -> None:
        """GET /login/oidc/callback"""
        source = self.forms.source(request, client, "oidc")
        try:
            user = await self._finish(client, source)
        except GatewayError as error:
            await self.forms.sessions.signins.refuse(Refused("", "", error.code or "oidc"), source)
            await self._fail(client, error)
            return
        begun = await self.forms.sessions.begin(user.id, source=source)
        await self.forms.go_on(client, begun, [self._over(), self._mark()])

    async def _finish(self, client: Client, source: Source) -> User:
        provider, given = self._provider(), dict(query_of(client))
        made = self.forms.cookie(client, "oidc").decode("latin-1").split(".")
        state = given.get("state", "").encode()
        if len(made) != 4 or not hmac.compare_digest(made[0].encode(), state):
            text = "this sign-in did not begin in this browser, or took more than ten minutes"
            raise Forbidden(f"{text}; try again", code="oidc_state")
        # each costs a request to the provider
        if (wait_s := self.throttle.fail([source.subject])) > 0:
            raise RateLimited("too many sign-ins; wait and try again", wait_us=int(wait_s * 1e6))
        signed_in = await self._signed_in(client) if made[3] == _LINK else ""
        async with self.turns.taken(source.subject):
            secret = made[0], made[1], made[2]
            user = await provider.finish(secret, self._back(client), given, signed_in)
        self.throttle.forgive(source.subject)
        return user

    async def _signed_in(self, client: Client) -> str:
        token = self.forms.cookie(client, "session")
        caller = await self.forms.sessions.find(token, lambda: True) if token else None
        if caller is None:
            raise Forbidden("sign in first, then link your account", code="sign_in_failed")
        return caller.user

    def _provider(self) -> SignOn:
        if self.sign_on is None:
            raise NotFound("this gateway does not have a sign-in provider")
        return self.sign_on

    def _back(self, client: Client) -> str:
        return origin_of(client, self.public_url) + _CALLBACK

    def _over(self) -> tuple[bytes, bytes]:
        return self.forms.cookies.write("oidc", "", 0, hidden=True)

    def _mark(self) -> tuple[bytes, bytes]:
        age_s = self.forms.sessions.lifetimes.longest_s
        return self.forms.cookies.write("via", "oidc", age_s, hidden=True)

    async def _fail(self, client: Client, error: GatewayError) -> None:
        await self.forms.sign_in_page(client, error.status, sentence(error), [self._over()])
