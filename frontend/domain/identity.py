"""Who sends a request, and what they may do. Plain data; `accounts` has the rules.

Identities are ids, never display names: who is created again under an old name is somebody else.
"""

import enum
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from frontend.domain.audit import AuditPolicy
from frontend.domain.labels import Rules

Network = IPv4Network | IPv6Network


class Permission(enum.Enum):
    """The permission that a route requires of its caller."""

    PUBLIC = "public"
    """Nothing: the route asks for no key."""
    INFER = "infer"
    """Send requests to models."""
    LOAD = "load"
    """Load and unload models."""
    OBSERVE = "observe"
    """Read the gateway's metrics."""
    SELF = "self"
    """Read one account, the caller's, and manage its keys."""
    USERS = "users"
    """Manage users, and approve and refuse requests for keys."""
    GROUPS = "groups"
    """Manage organisations and groups."""
    ROLES = "roles"
    """Manage roles."""
    KEYS = "keys"
    """Manage the keys of other users."""
    QUOTAS = "quotas"
    """Manage quotas, plans, credits and prices, and decide on requests for higher quotas."""
    USAGE = "usage"
    """Read the usage of all users."""
    AUDIT = "audit"
    """Search and export the audit of all users."""
    BACKENDS = "backends"
    """Register upstreams, and drain or remove them."""


@dataclass(frozen=True, slots=True)
class Role:
    """The permissions of a group of users. `weight` is their share in the scheduler."""

    name: str
    weight: int
    permissions: frozenset[Permission]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a key is limited to; it never adds to the rights of the key's owner.

    `models` and `endpoints` are patterns in which `*` stands for any text. None: no limit.
    """

    models: tuple[str, ...] | None = None
    endpoints: tuple[str, ...] | None = None
    networks: tuple[Network, ...] | None = None


UNLIMITED = Scope()


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a key. `user`, `group` and `organisation` are ids, `key` is the public id of
    the key; "" where there is none."""

    user: str
    name: str
    role: Role
    key: str = ""
    group: str = ""
    organisation: str = ""
    scope: Scope = UNLIMITED
    expires_at_us: int | None = None
    audit: AuditPolicy | None = None
    """Of the caller's group; None: as the settings say."""
    group_weight: int = 1
    """The group's share in the scheduler."""
    rules: Rules = ()
    """Of the caller's group: the labels of the upstreams that its prompts may be sent to."""


ANONYMOUS = Caller(
    "anonymous", "anonymous", Role("anonymous", 1, frozenset({Permission.PUBLIC, Permission.INFER}))
)
"""Every caller without a key, where none is required. No user can have this name."""
