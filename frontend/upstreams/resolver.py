"""Looks up the host of an upstream, and refuses addresses that must not be connected to."""

import socket
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp.abc import AbstractResolver, ResolveResult

from frontend.address import Address
from frontend.reach import resolve


class NotAllowed(OSError):
    """The host is at an address that must not be connected to."""


@dataclass(slots=True)
class CheckedResolver(AbstractResolver):
    """Looks a host up, and lets nobody connect unless all of its addresses are allowed."""

    allows: Callable[[Address], bool]

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses that were checked are the ones that are connected to."""
        found = [
            one for one in await resolve(host, port)
            if family in (socket.AF_UNSPEC, _family(one))
        ]  # fmt: skip
        if not found or not all(map(self.allows, found)):
            raise NotAllowed
        return [
            ResolveResult(
                hostname=host, host=str(one), port=port, family=_family(one), proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for one in found
        ]  # fmt: skip

    async def close(self) -> None:
        """Holds nothing."""


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6
