"""`x-cache-control` and `x-cache`: what a request asks of the response cache, and what it did.

The directives are those of HTTP's `cache-control` where it has them (RFC 9111, section 5.2.1).
"""

from collections.abc import Iterable
from typing import Any

from frontend.domain.caching import MAX_TTL_S, NOT_ASKED, CacheAsk
from frontend.errors import InvalidRequest

_HEADER = "x-cache-control"
_PLAIN = ("use", "no-cache", "no-store")
_TIMED = ("max-age", "ttl")


def read_ask(headers: Iterable[tuple[bytes, bytes]]) -> CacheAsk:
    """What the header `x-cache-control` asks for. Raises InvalidRequest for a directive that is not
    known."""
    values = [value for name, value in headers if name == b"x-cache-control"]
    if not values:
        return NOT_ASKED
    given: dict[str, int] = {}
    for part in b",".join(values).decode("latin-1").lower().split(","):
        name, _, value = part.strip().partition("=")
        given[name] = _seconds(name, value)
    return CacheAsk(
        use="no-cache" not in given or "use" in given,
        read="no-cache" not in given,
        store="no-store" not in given,
        max_age_s=given.get("max-age"),
        ttl_s=given.get("ttl"),
    )


def ask_of(body: dict[str, Any]) -> CacheAsk:
    """The same as the field `cache` of a body, whose values were checked."""
    plain = {name: body.get(name) for name in ("use", "read", "store")}
    flags = {name: True if value is None else bool(value) for name, value in plain.items()}
    return CacheAsk(**flags, max_age_s=body.get("max_age_s"), ttl_s=body.get("ttl_s"))


def _seconds(name: str, value: str) -> int:
    if name in _PLAIN and not value:
        return 0
    if name not in _TIMED:
        known = ", ".join((*_PLAIN, *(f"{one}=SECONDS" for one in _TIMED)))
        text = f"'{_HEADER}' has '{name[:40]}', which is not known; known: {known}"
        raise InvalidRequest(text, param=_HEADER)
    if not (value.isascii() and value.isdigit()) or int(value[:9]) > MAX_TTL_S:
        text = f"'{_HEADER}': '{name}' must be a number of seconds from 0 to {MAX_TTL_S}"
        raise InvalidRequest(text, param=_HEADER)
    return int(value)
