"""The routes of `/admin` and the pages below it.

A page is an empty form: its script fills it from the JSON API, which checks every permission by
itself. What is decided here is only which pages a role can use, and so which ones are offered.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from frontend.accounts.roles import allows
from frontend.accounts.waiting import Waiting
from frontend.dashboard.admin.sections import OVERVIEW, SECTIONS, AdminPage
from frontend.dashboard.pages import PAGE, respond
from frontend.domain.identity import Permission, Role
from frontend.domain.request import Request
from frontend.errors import Forbidden, NotFound
from frontend.http.accept import wants_page
from frontend.http.client import Client

_PAGES = {page.name: page for _, pages in SECTIONS for page in pages}
_OWN = {Permission.PUBLIC, Permission.INFER, Permission.SELF}
"""What every user may have without being an administrator."""


@dataclass(frozen=True, slots=True)
class AdminRoutes:
    """The pages for administrators."""

    waiting: Waiting

    async def overview(self, request: Request, client: Client) -> None:
        """GET /admin"""
        role = request.caller.role
        # a role without the first page begins with the first one that it can use
        usable = [page for _, pages in SECTIONS for page in pages if page.is_for(role)]
        if usable and usable[0] is not OVERVIEW:
            headers = [(b"location", usable[0].address.encode()), *PAGE]
            await client.respond(b"", status=303, headers=headers)
            return
        if not await _refuse(request, client):
            await self._show(request, client, OVERVIEW)

    async def show(self, request: Request, client: Client) -> None:
        """GET /admin/pages/{name}"""
        name = client.scope["path_params"]["name"]
        if not await _refuse(request, client):
            if (page := _PAGES.get(name)) is None:
                raise NotFound(f"the page '{name[:40]}' does not exist; /admin lists the pages")
            await self._show(request, client, page)

    async def _show(self, request: Request, client: Client, page: AdminPage) -> None:
        role = request.caller.role
        await respond(
            client,
            "admin.html",
            # the API would refuse what the page asks for
            status=200 if page.is_for(role) else 403,
            here=page,
            is_allowed=page.is_for(role),
            needed=" or ".join(f"'{one.value}'" for one in page.permissions),
            sections=list(_sections(role)),
            pending=await self._pending(role),
            user=request.caller.name,
            role=role,
            rights=sorted(one.value for one in role.permissions),
        )

    async def _pending(self, role: Role) -> int:
        """Requests that wait for a decision which the role may take."""
        may_keys, may_more = allows(role, Permission.USERS), allows(role, Permission.QUOTAS)
        if not (may_keys or may_more) or (counts := await self.waiting.count()) is None:
            return 0
        return counts.key_requests * may_keys + counts.quota_requests * may_more


async def _refuse(request: Request, client: Client) -> bool:
    """Answers a caller without any permission to administer with a page; whether it did. Raises
    Forbidden if the caller asked for JSON."""
    role = request.caller.role
    if role.permissions - _OWN:
        return False
    if not wants_page(client.scope["headers"]):
        text = f"the role '{role.name}' has no permission to administer the gateway"
        raise Forbidden(f"{text}; ask an administrator for another role")
    await respond(client, "forbidden.html", status=403, user=request.caller.name, role=role)
    return True


def _sections(role: Role) -> Iterator[tuple[str, list[AdminPage]]]:
    for title, pages in SECTIONS:
        usable = [page for page in pages if page.is_for(role)]
        if usable:
            yield title, usable
