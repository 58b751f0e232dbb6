"""Finds the address of a request's sender: the peer, or the one that a trusted proxy reports.

Clients can send any `X-Forwarded-For`, so the header is read from its end, and only the entries of
the operator's own proxies are used.
"""

from collections.abc import Sequence
from ipaddress import ip_address

from starlette.types import Scope

from frontend.domain.identity import Network

_MAX_HOPS = 32


def source_of(scope: Scope, proxies: Sequence[Network]) -> str:
    """The address of a request's sender; "" for a unix socket."""
    client = scope.get("client")
    address = str(client[0]) if client else ""
    if not proxies or not _is_in(address, proxies):
        return address
    hops = [
        hop.strip()
        for name, value in scope["headers"]
        if name == b"x-forwarded-for"
        for hop in value.decode("latin-1").split(",")
    ]
    # a header of thousands of hops costs an address to parse for each
    for hop in reversed(hops[-_MAX_HOPS:]):
        try:
            ip_address(hop)
        except ValueError:
            # whatever its syntax (`unknown`, an obfuscated name), it cannot be matched with a
            # network
            return address  # a proxy does not write this, so nothing before it can be trusted
        address = hop
        if not _is_in(hop, proxies):
            break
    return address


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    # a dual-stack socket reports IPv4 peers as `::ffff:192.0.2.7`
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(mapped in network for network in networks)
