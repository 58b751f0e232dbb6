"""`/login/code`, `/login/password` and `/login/enrol`: the steps between a correct password and a
session. Without the cookie of the first step, or after its ten minutes, each redirects to `/login`.
"""

from dataclasses import dataclass

from frontend.accounts.cookies import csrf_of
from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.factors import Factors
from frontend.accounts.directory.users import Users
from frontend.accounts.sessions import CODE, ENROL, PASSWORD, Pending
from frontend.accounts.signins import Refused, Source
from frontend.dashboard.forms import Forms, sentence
from frontend.domain.request import Request
from frontend.errors import GatewayError
from frontend.http.accept import wants_page
from frontend.http.client import Client


@dataclass(frozen=True, slots=True)
class StepRoutes:
    """The steps that follow the password."""

    forms: Forms
    users: Users
    factors: Factors

    async def show_code(self, _: Request, client: Client) -> None:
        """GET /login/code"""
        if await self._pending(client, CODE):
            await self._form(client, "code.html")

    async def enter_code(self, request: Request, client: Client) -> None:
        """POST /login/code"""
        code, csrf = await self.forms.read(client, "code")
        pending = await self._pending(client, CODE, csrf)
        if pending is None:
            return
        source = self.forms.source(request, client, "second factor")
        browser = await self.forms.sessions.known_browser(pending.name, source.browser)
        try:
            await self.factors.check(_actor(pending, source), code, browser)
        except GatewayError as error:
            refused = Refused(pending.user_id, pending.name, "code")
            await self.forms.sessions.signins.refuse(refused, source)
            await self._refuse(client, "code.html", error)
            return
        # this step has ended: its token must not lead to a second session
        await self.forms.sessions.end(self.forms.cookie(client, "step"))
        await self.forms.go_on(client, await self.forms.sessions.go_on(pending, source))

    async def show_password(self, _: Request, client: Client) -> None:
        """GET /login/password"""
        if await self._pending(client, PASSWORD):
            await self._form(client, "choose.html")

    async def choose_password(self, request: Request, client: Client) -> None:
        """POST /login/password"""
        new, csrf = await self.forms.read(client, "new_password")
        pending = await self._pending(client, PASSWORD, csrf)
        if pending is None:
            return
        source = self.forms.source(request, client)
        try:
            # which ends every session and every step
            await self.users.choose_password(_actor(pending, source), new)
        except GatewayError as error:
            await self._refuse(client, "choose.html", error)
            return
        await self.forms.go_on(client, await self.forms.sessions.go_on(pending, source))

    async def show_enrolment(self, request: Request, client: Client) -> None:
        """GET /login/enrol"""
        if pending := await self._pending(client, ENROL):
            actor = _actor(pending, self.forms.source(request, client))
            await self._form(client, "enrol.html", setup=await self.factors.pending(actor))

    async def enrol(self, request: Request, client: Client) -> None:
        """POST /login/enrol"""
        code, csrf = await self.forms.read(client, "code")
        pending = await self._pending(client, ENROL, csrf)
        if pending is None:
            return
        source = self.forms.source(request, client)
        actor = _actor(pending, source)
        try:
            codes = await self.factors.confirm(actor, code)
        except GatewayError as error:
            if not wants_page(client.scope["headers"]):
                raise
            setup = await self.factors.pending(actor)
            await self._refuse(client, "enrol.html", error, setup=setup)
            return
        await self.forms.sessions.end(self.forms.cookie(client, "step"))
        begun = await self.forms.sessions.go_on(pending, source)
        place, headers = self.forms.place(client), await self.forms.arrive(client, begun)
        await self.forms.send(client, "recovery.html", 200, headers, codes=codes, place=place)

    async def _pending(self, client: Client, stage: str, csrf: str | None = None) -> Pending | None:
        """Who is at this step; without one it leads to the form. `csrf`: that of a form."""
        pending = await self.forms.sessions.find_pending(self.forms.cookie(client, "step"))
        is_ours = csrf is None or self.forms.is_ours(client, "step", csrf)
        if pending is not None and pending.stage == stage and is_ours:
            return pending
        await self.forms.go(client, "/login", [])
        return None

    async def _refuse(
        self, client: Client, template: str, error: GatewayError, **values: object
    ) -> None:
        if not wants_page(client.scope["headers"]):
            raise error
        await self._form(client, template, error.status, sentence(error), **values)

    async def _form(
        self, client: Client, template: str, status: int = 200, problem: str = "", **values: object
    ) -> None:
        csrf = csrf_of(self.forms.cookie(client, "step"))
        await self.forms.send(client, template, status, [], csrf=csrf, problem=problem, **values)


def _actor(pending: Pending, source: Source) -> Actor:
    return Actor(
        pending.user_id,
        pending.name,
        frozenset(),
        request_id=source.request_id,
        address=source.address,
    )
