"""What the database holds about accounts, without secrets: no digest, no hash of a password.

Organisations ⊃ groups ⊃ users ⊃ keys. Instants are microseconds since 1970 in UTC.
"""

from dataclasses import dataclass

KEY_REQUEST_STATUSES = ("pending", "approved", "refused")


@dataclass(frozen=True, slots=True)
class Organisation:
    """The top of the tree."""

    id: str
    name: str
    created_at_us: int
    disabled_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Users who share a budget. `weight` is the group's share in the scheduler."""

    id: str
    organisation_id: str
    name: str
    weight: int
    created_at_us: int
    disabled_at_us: int | None = None
    audit: str | None = None
    """How much of its requests is kept; None: as the settings say, also for the two below."""
    audit_strict: bool | None = None
    audit_days: int | None = None
    upstreams: dict[str, list[str]] | None = None
    """The values that labels of upstreams may have for its prompts; None: every upstream."""


@dataclass(frozen=True, slots=True)
class User:
    """A person or a program. `role` is the name of its role."""

    id: str
    group_id: str
    role: str
    name: str
    display_name: str
    email: str | None
    created_at_us: int
    disabled_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A key; `id` is its public id. The scopes are lists of texts, None where there is no limit.

    `previous_ends_at_us`: until when the key from before the last rotation works.
    """

    id: str
    user_id: str
    name: str
    models: list[str] | None
    endpoints: list[str] | None
    networks: list[str] | None
    created_at_us: int
    expires_at_us: int | None = None
    previous_ends_at_us: int | None = None
    last_used_at_us: int | None = None
    disabled_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class StoredRole:
    """A role as it is stored; `permissions` are names."""

    name: str
    weight: int
    permissions: list[str]
    built_in: bool


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A request for a key from a person without an account.

    `key_id` is the public id of the key that works once the request is approved; `status` is
    pending, approved or refused.
    """

    id: str
    key_id: str
    name: str
    email: str
    reason: str
    status: str
    note: str | None
    user_id: str | None
    created_at_us: int
    expires_at_us: int
    decided_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class AdminEvent:
    """One change of an account: who did what to whom; columns of rows `before` and `after` it."""

    id: str
    at_us: int
    actor_id: str
    actor_name: str
    action: str
    target_kind: str
    target_id: str
    details: dict[str, object]
    request_id: str
    address: str
    number: int | None = None
    before: dict[str, object] | None = None
    after: dict[str, object] | None = None
