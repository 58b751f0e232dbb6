"""`/login/password`: what comes between a right password and a session. Without the cookie of the
first step, or after its ten minutes, each leads back to `/login`.
"""

from dataclasses import dataclass

from frontend.accounts.cookies import csrf_of
from frontend.accounts.directory.actor import Actor
from frontend.accounts.directory.users import Users
from frontend.accounts.sessions import PASSWORD, Pending
from frontend.accounts.signins import Source
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

    async def show_password(self, _: Request, client: Client) -> None:
        """GET /login/password"""
        if await self._pending(client, PASSWORD) is None:
            await self.forms.go(client, "/login", [])
            return
        await self._form(client, "choose.html")

    async def choose_password(self, request: Request, client: Client) -> None:
        """POST /login/password"""
        new, csrf = await self.forms.read(client, "new_password")
        pending = await self._pending(client, PASSWORD)
        if pending is None or not self.forms.is_ours(client, "step", csrf):
            await self.forms.go(client, "/login", [])
            return
        source = self.forms.source(request, client)
        try:
            await self.users.choose_password(_actor(pending, source), new)
        except GatewayError as error:
            if not wants_page(client.scope["headers"]):
                raise
            await self._form(client, "choose.html", error.status, sentence(error))
            return
        begun = await self.forms.sessions.begin(pending.user_id, source=source)
        await self.forms.go_on(client, begun)

    async def _pending(self, client: Client, stage: str) -> Pending | None:
        pending = await self.forms.sessions.find_pending(self.forms.cookie(client, "step"))
        return pending if pending is not None and pending.stage == stage else None

    async def _form(
        self, client: Client, template: str, status: int = 200, problem: str = ""
    ) -> None:
        csrf = csrf_of(self.forms.cookie(client, "step"))
        await self.forms.send(client, template, status, [], csrf=csrf, problem=problem)


def _actor(pending: Pending, source: Source) -> Actor:
    return Actor(
        pending.user_id,
        pending.name,
        frozenset(),
        request_id=source.request_id,
        address=source.address,
    )
