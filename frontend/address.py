"""Parses URLs that the gateway connects to, and decides which addresses are allowed. Pure.

A URL is parsed once, by a strict pattern, and requests are built from its parts, so that no second
parser can read it differently. Addresses that are not public are refused in every notation.
"""

import ipaddress
import re
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL = 2048
# vLLM's CVE-2026-24779 was a backslash that two parsers read in different ways
_URL = re.compile(
    r"https://(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>/[!-\[\]-~]*|\?[!-\[\]-~]*)?",  # printable ASCII without spaces and backslashes
    re.ASCII,
)
_SERVER = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>(?:/[A-Za-z0-9._~-]+)*)/?",
    re.ASCII,
)
_GRPC = re.compile(
    r"(?:grpc://)?(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):(?P<port>[0-9]{1,5})/?",
    re.ASCII,
)
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_ROUTED_V6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_V4 = tuple(
    map(ipaddress.IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32"))
)
"""What Python 3.11 counts as global: protocol assignments and 6to4 relays (RFC 6890, 7526), and
the address at which each machine of Azure has a server for its secrets."""
_TUNNELS_V6 = tuple(
    map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)
"""Within what is routed: Teredo and other protocols, documentation, 6to4 (RFC 6890, 9637)."""


class BadAddress(ValueError):
    """Says why a URL is refused; meant for callers."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where an image is: a name or an address, a port, and what to ask for there."""

    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """The value of the header `host`."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return shown if self.port == 443 else f"{shown}:{self.port}"

    def follow(self, location: str) -> "Location":
        """The location of a redirect from here. Raises BadAddress if it is not an HTTPS URL that
        may be fetched."""
        # `//other/path` names another host, and goes through every check
        if location.startswith("/") and not location.startswith(("//", "/\\")):
            return parse_url(f"https://{self.authority}{location}")
        return parse_url(location)


def parse_url(url: str) -> Location:
    """Raises BadAddress for anything but plain `https:` with a host, a port and a path."""
    if len(url) > MAX_URL:
        raise BadAddress(f"is longer than {MAX_URL} characters")
    # a fragment is never sent
    match = _URL.fullmatch(url.partition("#")[0])
    if match is None:
        raise BadAddress(
            "is not a plain https: URL; user names, spaces, backslashes and non-ASCII characters"
            " are not allowed"
        )
    port = int(match["port"] or 443)
    if not 0 < port < 65536:
        raise BadAddress(f"has the port {port}; it must be from 1 to 65535")
    target = match["target"] or "/"
    return Location(_host(match["host"]), port, target if target.startswith("/") else f"/{target}")


@dataclass(frozen=True, slots=True)
class Server:
    """A web server that the operator names: `path` comes before every path that is asked for."""

    tls: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the header `host`."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return shown if self.port == (443 if self.tls else 80) else f"{shown}:{self.port}"


def parse_server(url: str) -> Server:
    """Raises BadAddress for anything but a plain `http:` or `https:` URL without a query."""
    match = _SERVER.fullmatch(url) if len(url) <= MAX_URL else None
    if match is None:
        raise BadAddress(
            "is not a plain URL such as http://10.0.0.5:8000; user names, queries, spaces and"
            " backslashes are not allowed"
        )
    tls = match["scheme"] == "https"
    port = int(match["port"] or (443 if tls else 80))
    if not 0 < port < 65536:
        raise BadAddress(f"has the port {port}; it must be from 1 to 65535")
    return Server(tls, _host(match["host"]), port, match["path"])


def parse_grpc(url: str) -> Server:
    """Raises BadAddress for anything but the host and port of a gRPC server."""
    match = _GRPC.fullmatch(url) if len(url) <= MAX_URL else None
    if match is None:
        raise BadAddress("is not the address of a gRPC server, such as 10.0.0.5:8001")
    port = int(match["port"])
    if not 0 < port < 65536:
        raise BadAddress(f"has the port {port}; it must be from 1 to 65535")
    return Server(False, _host(match["host"]), port, "")


def _host(written: str) -> str:
    if written.startswith("["):
        try:
            return str(ipaddress.IPv6Address(written[1:-1]))
        except ValueError:
            raise BadAddress("has a host that is not a valid IPv6 address") from None
    labels = written.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):  # then it is an address, in whatever base
        try:
            return str(ipaddress.IPv4Address(written))  # four decimals without leading zeros
        except ValueError:
            raise BadAddress("has a host that is not a plain IPv4 address") from None
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise BadAddress("has a host that is not a valid name")
    return ".".join(labels).lower()


def is_public(address: Address) -> bool:
    """Whether the address is public; tunnels are not."""
    if isinstance(address, ipaddress.IPv6Address) and (
        address not in _ROUTED_V6 or any(address in network for network in _TUNNELS_V6)
    ):
        return False  # mapped, compatible and NAT64 addresses among them
    if isinstance(address, ipaddress.IPv4Address) and any(address in net for net in _SPECIAL_V4):
        return False
    # Python counts multicast addresses as global
    return address.is_global and not (address.is_multicast or address.is_reserved)


def is_allowed(address: Address, networks: tuple[Network, ...]) -> bool:
    """Public, or in one of the networks that the operator names."""
    return is_public(address) or any(address in network for network in networks)
