"""Who makes a change of accounts, and with which rights."""

from dataclasses import dataclass

from frontend.domain.identity import UNLIMITED, Permission, Scope


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change, and with which rights.

    `presented` is the key that the request came with, `key` its public id ("" of a session);
    `idempotency_key` the client's name for the request, "" without one; `body` what is compared
    when that name is used again. `session` marks the session that the request came with, and
    `browser` a browser in which this user has signed in; routes that read passwords fill both.
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
    session: str = ""
    browser: str = ""

    @property
    def credential(self) -> str:
        """The key or session that the request came with, as a text that is not a secret."""
        return self.key or self.session or self.id


OPERATOR = Actor("operator", "operator", frozenset(Permission))
"""Who runs commands on the gateway's machine."""
