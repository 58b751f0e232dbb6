"""`/admin` and the pages below it: the gateway, to those who run it.

A page is an empty form: its script fills it from the JSON API, which checks every permission by
itself. What is decided here is only which pages a role can use, and so which ones are offered.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from frontend.accounts.roles import allows
from frontend.dashboard.pages import PAGE, respond
from frontend.domain.identity import Permission, Role
from frontend.domain.request import Request
from frontend.errors import Forbidden, NotFound
from frontend.http.accept import wants_page
from frontend.http.client import Client


@dataclass(frozen=True, slots=True)
class AdminPage:
    """A page; `permissions`: one of them is needed. Its script has the page's name."""

    name: str
    title: str
    about: str
    permissions: tuple[Permission, ...]

    @property
    def address(self) -> str:
        """Where it is."""
        return "/admin" if self.name == "overview" else f"/admin/pages/{self.name}"

    def is_for(self, role: Role) -> bool:
        """Whether users of the role can do something there."""
        return any(allows(role, one) for one in self.permissions)


_OVERVIEW = AdminPage(
    "overview",
    "Overview",
    "What this gateway process does at this moment. It is updated every two seconds.",
    (Permission.OBSERVE,),
)
_P = Permission
SECTIONS: tuple[tuple[str, tuple[AdminPage, ...]], ...] = (
    (
        "Service",
        (
            _OVERVIEW,
            AdminPage(
                "upstreams",
                "Upstreams",
                "The servers that requests may be sent to, as this gateway process sees them.",
                (_P.BACKENDS,),
            ),
            AdminPage(
                "models",
                "Models",
                "Each model at every upstream, as this gateway process sees it.",
                (_P.LOAD,),
            ),
            AdminPage(
                "cache",
                "Cache",
                "Answers that are sent again without asking a model, in this gateway process.",
                (_P.BACKENDS,),
            ),
        ),
    ),
    (
        "People",
        (
            AdminPage("users", "Users", "Who may sign in and use the gateway.", (_P.USERS,)),
            AdminPage(
                "groups",
                "Groups",
                "Users who share a weight, limits and what the audit keeps.",
                (_P.GROUPS,),
            ),
            AdminPage("roles", "Roles", "What users may do, and their share.", (_P.ROLES,)),
            AdminPage("keys", "Keys", "The API keys of all users.", (_P.KEYS,)),
            AdminPage(
                "requests",
                "Requests",
                "People who ask for a key, and users who ask for more.",
                (_P.USERS, _P.QUOTAS),
            ),
        ),
    ),
    (
        "Limits",
        (
            AdminPage("quotas", "Quotas", "How much may be used in a period.", (_P.QUOTAS,)),
            AdminPage(
                "plans",
                "Plans",
                "Credits and limits of subscribers, by month.",
                (_P.QUOTAS,),
            ),
            AdminPage("credits", "Credits", "Balances, and grants with a reason.", (_P.QUOTAS,)),
            AdminPage("prices", "Prices", "What requests cost, by model.", (_P.QUOTAS,)),
        ),
    ),
    (
        "History",
        (
            AdminPage(
                "audit",
                "Audit",
                "Every request, with its texts where the policy of its group keeps them.",
                (_P.AUDIT,),
            ),
            AdminPage(
                "changes",
                "Changes",
                "Who changed what of accounts, limits and upstreams, the newest first.",
                (_P.USERS,),
            ),
            AdminPage(
                "settings",
                "Settings",
                "What this gateway process was started with. A secret is never shown.",
                (_P.OBSERVE,),
            ),
        ),
    ),
)
_PAGES = {page.name: page for _, pages in SECTIONS for page in pages}
_OWN = {Permission.PUBLIC, Permission.INFER, Permission.SELF}
"""What every user may have without being an administrator."""


@dataclass(frozen=True, slots=True)
class AdminRoutes:
    """The pages for administrators."""

    async def overview(self, request: Request, client: Client) -> None:
        """GET /admin"""
        role = request.caller.role
        # a role without the first page begins with the first one that it can use
        usable = [page for _, pages in SECTIONS for page in pages if page.is_for(role)]
        if usable and usable[0] is not _OVERVIEW:
            headers = [(b"location", usable[0].address.encode()), *PAGE]
            await client.respond(b"", status=303, headers=headers)
            return
        await _show(request, client, _OVERVIEW)

    async def show(self, request: Request, client: Client) -> None:
        """GET /admin/pages/{name}"""
        name = client.scope["path_params"]["name"]
        if (page := _PAGES.get(name)) is None:
            raise NotFound(f"there is no page '{name[:40]}'; /admin lists the pages")
        await _show(request, client, page)


async def _show(request: Request, client: Client, page: AdminPage) -> None:
    role = request.caller.role
    if not role.permissions - _OWN:
        text = f"the role '{role.name}' has no permission to administer the gateway"
        if not wants_page(client.scope["headers"]):
            raise Forbidden(f"{text}; ask an administrator for another role")
        await respond(client, "forbidden.html", status=403, user=request.caller.name, role=role)
        return
    await respond(
        client,
        "admin.html",
        # the API would refuse what the page asks for
        status=200 if page.is_for(role) else 403,
        here=page,
        is_allowed=page.is_for(role),
        needed=" or ".join(f"'{one.value}'" for one in page.permissions),
        sections=list(_sections(role)),
        user=request.caller.name,
        role=role,
        rights=sorted(one.value for one in role.permissions),
    )


def _sections(role: Role) -> Iterator[tuple[str, list[AdminPage]]]:
    for title, pages in SECTIONS:
        usable = [page for page in pages if page.is_for(role)]
        if usable:
            yield title, usable
