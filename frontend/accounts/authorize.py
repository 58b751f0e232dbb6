"""Finds the caller of a request by its key, and checks that the caller may use the route.

Knows headers and permissions, not paths: the route table says what each route needs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from frontend.accounts.credentials import parse_key
from frontend.accounts.keys import Keys
from frontend.accounts.roles import allows
from frontend.domain.identity import ANONYMOUS, Caller, Permission
from frontend.errors import Forbidden, Unauthorized

_BEARER = b"bearer "


@dataclass(frozen=True, slots=True)
class Authorizer:
    """`keys` of None: every caller is anonymous. `open`: a caller without a valid key is, too."""

    keys: Keys | None
    open: bool

    def authorize(self, headers: Iterable[tuple[bytes, bytes]], permission: Permission) -> Caller:
        """The caller, who has the permission. Raises Unauthorized, Forbidden."""
        if self.keys is None or permission is Permission.PUBLIC:
            caller = ANONYMOUS
        else:
            caller = self._authenticate(self.keys, secret_of(headers))
        require(caller, permission)
        return caller

    def _authenticate(self, keys: Keys, secret: bytes) -> Caller:
        credential = parse_key(secret)
        if caller := keys.find(credential) if credential else None:
            return caller
        if self.open:  # clients of an open gateway send made-up keys, because their SDK wants one
            return ANONYMOUS
        if not secret:
            raise Unauthorized("an API key is required: 'Authorization: Bearer KEY'")
        raise Unauthorized("the API key is not valid")


def require(caller: Caller, permission: Permission) -> None:
    """Raises Forbidden for a caller without the permission."""
    if not allows(caller.role, permission):
        raise Forbidden("this requires a key with the role 'admin'; ask the operator for one")


def secret_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The key in a request's headers: OpenAI's and Ollama's, or Anthropic's."""
    secret = b""
    for name, value in headers:
        if name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            return value[len(_BEARER) :].strip()
        if name == b"x-api-key":
            secret = value.strip()
    return secret
