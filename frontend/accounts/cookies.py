"""The cookies of a session, and the token that pages send with every request that writes. Pure.

A cookie goes along with whatever a browser sends, also for a page of somebody else; the token does
not. It follows from the session's own, so it needs no store, and nobody can make one for a session
that is not theirs (OWASP's signed double-submit cookie).
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

Headers = Iterable[tuple[bytes, bytes]]
_CSRF_HEADER = b"x-csrf-token"


@dataclass(frozen=True, slots=True)
class Cookies:
    """`secure`: browsers reach the gateway through TLS, and send the cookies in no other way.

    With the prefix, browsers refuse a cookie that another host of the domain sets (RFC 6265bis).
    """

    secure: bool

    def name(self, plain: str) -> str:
        """The name that a cookie has here."""
        return f"__Host-{plain}" if self.secure else plain

    def read(self, headers: Headers, plain: str) -> bytes:
        """The value of a cookie; empty without it."""
        name = self.name(plain).encode()
        for header, value in headers:
            if header == b"cookie":
                for pair in value.split(b";"):
                    key, _, content = pair.strip().partition(b"=")
                    if key == name:
                        return content
        return b""

    def write(self, plain: str, value: str, age_s: int, *, hidden: bool) -> tuple[bytes, bytes]:
        """The header that sets a cookie; an age of 0 removes it. `hidden`: from scripts."""
        text = f"{self.name(plain)}={value}; Path=/; Max-Age={age_s}; SameSite=Lax"
        text += "; Secure" * self.secure + "; HttpOnly" * hidden
        return b"set-cookie", text.encode()


def csrf_of(token: bytes) -> str:
    """What requests that write with this session must present."""
    return hmac.digest(token, b"csrf", "sha256").hex()


def is_csrf(token: bytes, presented: bytes) -> bool:
    """Whether the presented token is that of the session."""
    return hmac.compare_digest(csrf_of(token).encode(), presented)


def presented_csrf(headers: Headers) -> bytes:
    """The token in a request's header."""
    return next((value.strip() for name, value in headers if name == _CSRF_HEADER), b"")
