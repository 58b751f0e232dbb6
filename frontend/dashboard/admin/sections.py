"""The pages of administrators: their titles, their order, and the permissions that they need."""

from dataclasses import dataclass

from frontend.accounts.roles import allows
from frontend.domain.identity import Permission, Role


@dataclass(frozen=True, slots=True)
class AdminPage:
    """A page; `permissions`: one of them is needed. Its script has the page's name."""

    name: str
    title: str
    about: str
    permissions: tuple[Permission, ...]

    @property
    def address(self) -> str:
        """The path of the page."""
        return "/admin" if self.name == "overview" else f"/admin/pages/{self.name}"

    def is_for(self, role: Role) -> bool:
        """Whether the role has one of the page's permissions."""
        return any(allows(role, one) for one in self.permissions)


OVERVIEW = AdminPage(
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
            OVERVIEW,
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
                "Answers that this gateway process sends from its cache, without a call of a"
                " model.",
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
            AdminPage(
                "roles",
                "Roles",
                "The permissions of users, and their share in the scheduler.",
                (_P.ROLES,),
            ),
            AdminPage("keys", "Keys", "The API keys of all users.", (_P.KEYS,)),
            AdminPage(
                "requests",
                "Requests",
                "Requests for keys, and users' requests for higher quotas.",
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
            AdminPage(
                "prices",
                "Prices",
                "What requests cost, by model, in the currency that you charge in.",
                (_P.QUOTAS,),
            ),
        ),
    ),
    (
        "History",
        (
            AdminPage(
                "usage",
                "Usage",
                "How much users, keys and models have used. Usage is counted when a request ends.",
                (_P.USAGE,),
            ),
            AdminPage(
                "audit",
                "Audit",
                "Every request, with its texts where the policy of its group keeps them.",
                (_P.AUDIT,),
            ),
            AdminPage(
                "changes",
                "Changes",
                "Changes of accounts, limits and upstreams, with their authors; the newest first.",
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
