"""Who makes a change of accounts, and with which rights."""

from dataclasses import dataclass

from frontend.domain.identity import UNLIMITED, Permission, Scope


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change, and with which rights.

    `presented` is the key that the request came with, `key` its public id ("" of a session);
    `idempotency_key` the client's name for the request, "" without one; `body` what is compared
    when that name is used again.
    """

    id: str
    name: str
    permissions: frozenset[Permission]
    role: str = ""
    scope: Scope = UNLIMITED
    expires_at_us: int | None = None
    request_id: str = ""
    address: str = ""
    presented: bytes = b""
    idempotency_key: str = ""
    body: bytes = b""
    key: str = ""


OPERATOR = Actor("operator", "operator", frozenset(Permission))
"""Who runs commands on the gateway's machine."""
