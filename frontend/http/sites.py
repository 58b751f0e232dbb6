"""Checks which web pages may use the gateway, and under which host names.

A browser sends what a page asks for, and says whose page it was: by `Origin`, and, when an attacker
points a name of theirs at this machine (DNS rebinding), by `Host`. A page has a key only if its
user enters one, so both are checked if callers need no key (docs/decisions/0006-web-pages.md).
"""

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import Scope

from frontend.errors import Forbidden

_SHOWN = 100
# a proxy on this machine makes every stranger look like a local caller
_RELAYED = frozenset((b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"))
# mDNS, ICANN's `.internal`, RFC 8375, and Kubernetes
_PRIVATE_ZONES = (".local", ".internal", ".home.arpa", ".svc")  # public DNS does not serve these
_HOST = re.compile(r"(?P<name>\[[^]]*\]|[^:]*)(:\d*)?")


@dataclass(frozen=True, slots=True)
class Sites:
    """`hosts` and `origins` of None: any. `wide`: other machines reach this gateway, too.

    `keyed`: every caller needs a key.
    """

    hosts: re.Pattern[str] | None
    origins: re.Pattern[str] | None
    wide: bool = False
    keyed: bool = False

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises Forbidden for a host or an origin that is not allowed, unless keys are required.
        Only HTTP/1.0 has requests without a host, and no browser sends it."""
        # a page cannot add a key that it does not know, so neither header proves anything more
        if self.keyed:
            return
        host, origins = b"", []
        for name, value in headers:
            if name == b"host":
                host = value
            elif name == b"origin":
                origins.append(value)
        if host and self.hosts is not None and not self._is_own(host):
            raise Forbidden(
                f"'{_shown(host)}' is not a host name of this gateway; the operator can add it to"
                " TRITON_FRONTEND_ALLOWED_HOSTS",
                param="host",
                code="host_not_allowed",
            )
        for origin in origins:
            if not self.allows(origin, host):
                raise Forbidden(
                    f"pages of '{_shown(origin)}' may not use this gateway; the operator can add"
                    " the origin to TRITON_FRONTEND_ALLOWED_ORIGINS",
                    param="origin",
                    code="origin_not_allowed",
                )

    def allows(self, origin: bytes, host: bytes) -> bool:
        """Whether pages of this origin may use the gateway; its own may."""
        text = origin.decode("latin-1").lower()
        if self.origins is None or self.origins.fullmatch(text):
            return True
        return bool(host) and text in (f"{scheme}://{_text(host)}" for scheme in ("http", "https"))

    def _is_own(self, host: bytes) -> bool:
        name = name_of(host)
        if is_loopback(name) or (self.hosts is not None and self.hosts.fullmatch(name)):
            return True
        return self.wide and _cannot_be_rebound(name)


def sites_of(
    listening: str, hosts: Iterable[str], origins: Iterable[str], public_url: str, *, keyed: bool
) -> Sites:
    """The sites of a gateway that listens on that address."""
    # an address that is listened on may be written with brackets, Host's name is compared without
    hosts, origins = [each.strip("[]") for each in (*hosts, listening)], [*origins]
    if public_url:
        parts = urlsplit(public_url)
        hosts.append(parts.hostname or "")
        origins.append(f"{parts.scheme}://{parts.netloc}")
    wide = not is_loopback(listening)
    # other machines reach it under its own name
    if wide:
        hosts.append(socket.gethostname())
    return Sites(_matching(hosts), _matching(origins), wide, keyed)


def _matching(patterns: list[str]) -> re.Pattern[str] | None:
    """Matches any of the patterns, in which `*` stands for any text without a slash."""
    if "*" in patterns:
        return None
    # without a slash: `*` must not swallow `://` and so admit another scheme
    parts = (re.escape(each.lower()).replace(r"\*", "[^/]+") for each in patterns if each)
    # matches nothing: an empty pattern would match an empty name
    return re.compile("|".join(parts) or r"(?!)")


@lru_cache(1024)
def name_of(host: bytes) -> str:
    """A Host header's name or address: without port, brackets, and the dot of a full name."""
    match = _HOST.fullmatch(_text(host))
    # `localhost.` with the root's dot is the same name (RFC 1034, section 3.1)
    return match["name"].strip("[]").removesuffix(".") if match else ""


def is_loopback(name: str) -> bool:
    """Whether the name or address is only ever this machine's."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        # RFC 6761 (section 6.3): `*.localhost` is loopback as well
        return name == "localhost" or name.endswith(".localhost")


def is_local(scope: Scope) -> bool:
    """Whether the caller is on this machine: no proxy on it, and no page under another name."""
    client, hosts = scope.get("client"), []
    for name, value in scope["headers"]:
        if name in _RELAYED:
            return False
        if name == b"host":
            hosts.append(value)
    # a unix socket has no peer, and is not known to be the operator's
    if client is None or not all(is_loopback(name_of(host)) for host in hosts):
        return False
    try:
        return ip_address(client[0]).is_loopback
    except ValueError:
        return False


def _cannot_be_rebound(name: str) -> bool:
    """Strangers own neither addresses nor names without a dot or in private zones."""
    try:
        ip_address(name)
    except ValueError:
        # an attacker rebinds a name by answering its DNS query, which needs a name in public DNS
        return bool(name) and ("." not in name or name.endswith(_PRIVATE_ZONES))
    return True


def _text(host: bytes) -> str:
    return host.decode("latin-1").lower()


def _shown(value: bytes) -> str:
    text = value.decode("latin-1")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
