"""Looks up the addresses of a host, and says at which of them a registered upstream may be: public
ones, and networks of the operator's.

The answer is the list of addresses that was checked: who connects must use it, because a second
look-up could answer differently (DNS rebinding).
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from frontend.address import Address, BadAddress, Network, Server, is_allowed

_RESOLVE_S = 5.0
Resolve = Callable[[str, int], Awaitable[list[Address]]]


async def resolve(host: str, port: int) -> list[Address]:
    """All addresses of a host, in the system's order. Raises OSError if the name cannot be
    resolved."""
    answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(each[4][0]) for each in answers]


@dataclass(frozen=True, slots=True)
class Reach:
    """`networks` may be reached besides public addresses."""

    networks: tuple[Network, ...] = ()
    resolve: Resolve = resolve

    def allows(self, address: Address) -> bool:
        """Whether an upstream may be at this address."""
        return is_allowed(address, self.networks)

    async def addresses(self, server: Server) -> list[Address]:
        """The addresses of a server, all of them allowed. Raises BadAddress if one is not, or the
        name cannot be resolved within the time limit."""
        try:
            found: list[Address] = [ipaddress.ip_address(server.host)]
        except ValueError:
            try:
                async with asyncio.timeout(_RESOLVE_S):
                    found = await self.resolve(server.host, server.port)
            except (OSError, TimeoutError):
                raise BadAddress("has a host name that cannot be resolved") from None
        if not found or not all(map(self.allows, found)):
            raise BadAddress(
                "is at an address that is not public; the operator allows private networks by the"
                " setting 'backend_networks'"
            )
        return found
