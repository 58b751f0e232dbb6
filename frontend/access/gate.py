"""Lets a request in, or says why not. It is asked about the route that matched, never a path."""

from collections.abc import Iterable
from dataclasses import dataclass

from frontend.access.keys import ANONYMOUS, Caller, Keys, Role
from frontend.errors import Forbidden, Unauthorized

_BEARER = b"bearer "


@dataclass(frozen=True, slots=True)
class Gate:
    """`keys` of None knows nobody. `open`: whoever shows no key is a user all the same."""

    keys: Keys | None
    open: bool

    def admit(self, headers: Iterable[tuple[bytes, bytes]], needed: Role) -> Caller:
        """Whose request it is. Raises Unauthorized, Forbidden."""
        if self.keys is None or needed is Role.PUBLIC:
            caller = ANONYMOUS
        else:
            caller = self._known(self.keys, secret_of(headers))
        if caller.role < needed:
            raise Forbidden("this takes a key of the role 'admin'; ask the operator for one")
        return caller

    def _known(self, keys: Keys, secret: bytes) -> Caller:
        if caller := keys.find(secret) if secret else None:
            return caller
        if self.open:  # clients of an open gateway send made-up keys, since their SDK wants one
            return ANONYMOUS
        if not secret:
            raise Unauthorized("this gateway takes requests with a key: 'Authorization: Bearer …'")
        raise Unauthorized("the key is not known here, or was taken back")


def secret_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The key that a request shows, in OpenAI's and Ollama's way or in Anthropic's."""
    found = b""
    for name, value in headers:
        if name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            return value[len(_BEARER) :].strip()
        if name == b"x-api-key":
            found = value.strip()
    return found
