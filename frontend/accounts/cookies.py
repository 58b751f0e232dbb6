"""The cookies of a session, and the CSRF token that pages send with requests that write. Pure.

A browser sends cookies also for pages of other sites, but not the token. The token is derived from
the session's token, so it is not stored, and it cannot be made for another session (OWASP's signed
double-submit cookie).
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

Headers = Iterable[tuple[bytes, bytes]]
_CSRF_HEADER = b"x-csrf-token"


@dataclass(frozen=True, slots=True)
class Cookies:
    """`secure`: browsers reach the gateway through TLS, and send the cookies only through TLS.

    With the prefix, browsers refuse a cookie that another host of the domain sets (RFC 6265bis).
    """

    secure: bool

    def name(self, plain: str) -> str:
        """The full name of a cookie, with the prefix."""
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
    """The CSRF token of a session, required for requests that write."""
    return hmac.digest(token, b"csrf", "sha256").hex()


def is_csrf(token: bytes, presented: bytes) -> bool:
    """Whether the presented token is that of the session."""
    return hmac.compare_digest(csrf_of(token).encode(), presented)


def presented_csrf(headers: Headers) -> bytes:
    """The token in a request's header."""
    return next((value.strip() for name, value in headers if name == _CSRF_HEADER), b"")
