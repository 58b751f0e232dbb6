"""Every open connection: how many there may be, and when one has been idle or slow for too long.

A full server closes connections that wait for a request, those first that never sent one, before it
refuses a new one: a client that only opens connections cannot lock others out.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from frontend.http.limits import Limits

_RETRY_S = 0.1  # a server full of busy connections does not look for idle ones at each new one
_EVICTED = 16  # this many are closed together, so that the search is rare
_MIN_DRAINED_BYTES = 16 * 1024  # what a client must take of an answer within `client_s`


class Connection(Protocol):
    """What the limits need to know of a connection."""

    transport: asyncio.Transport
    served: int
    """Requests answered."""
    waits_since_s: float | None
    """Since when it waits for a request or for the end of one; None while one is handled."""

    def patience_s(self) -> float:
        """How long it may wait."""


@dataclass(slots=True)
class _Drain:
    """How far a client is with what was written for it."""

    left_bytes: int
    since_s: float


@dataclass(slots=True)
class Connections:
    """All of one server."""

    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], float] = time.monotonic
    refused: Callable[[], None] = lambda: None
    _open: dict[Connection, str] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)
    _drains: dict[Connection, _Drain] = field(default_factory=dict)
    _full_until_s: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Connection, address: str) -> str | None:
        """Takes a connection in, or says which limit it would break: 'all' or 'address'."""
        limits = self.limits
        full = None
        # the address first: its own connections make room, before those of others have to
        if self._counts[address] >= limits.connections_per_address and not self._make_room(address):
            full = "address"
        elif len(self._open) >= limits.connections and not self._make_room(""):
            full = "all"
        if full:
            self.refused()
            return full
        self._open[connection] = address
        self._counts[address] += 1
        return None

    def remove(self, connection: Connection) -> None:
        """Forgets a connection that is closed."""
        self._drains.pop(connection, None)
        if (address := self._open.pop(connection, None)) is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]

    def _make_room(self, address: str) -> bool:
        """Closes the idlest connections of an address, or of all; whether there were any."""
        now = self.clock()
        # so that a flood does not sort 4,096 connections for each new one
        if now < self._full_until_s.get(address, 0):
            return False
        idle = [
            (bool(each.served), each.waits_since_s, each)
            for each, its in self._open.items()
            if each.waits_since_s is not None and address in ("", its)
        ]
        if not idle:
            # expired entries are dropped here, because addresses come from strangers
            self._full_until_s = {
                key: until for key, until in self._full_until_s.items() if until > now
            } | {address: now + _RETRY_S}
            return False
        # those that never sent a request first, and of these the oldest
        idle.sort(key=lambda each: each[:2])
        for _, _, connection in idle[: max(1, len(idle) // _EVICTED)]:
            # removed here, since `connection_lost` comes later and the room is needed now
            self.remove(connection)
            # abort, because a close would wait until the client has read
            connection.transport.abort()
        return True

    def sweep(self) -> None:
        """Closes what waited, or was not read, for too long. To be called about once a second."""
        now = self.clock()
        # a copy: `abort` may end in `remove`
        for connection in list(self._open):
            since_s = connection.waits_since_s
            if self._is_stuck(connection, now):
                connection.transport.abort()
            elif since_s is not None and now - since_s > connection.patience_s():
                connection.transport.close()

    def _is_stuck(self, connection: Connection, now: float) -> bool:
        left_bytes = connection.transport.get_write_buffer_size()
        drain = self._drains.get(connection)
        if not left_bytes:
            if drain is not None:
                del self._drains[connection]
        elif drain is None:
            self._drains[connection] = _Drain(left_bytes, now)
        # a client that reads one byte at a time resets nothing; 16 KiB per period do
        elif not drain.left_bytes - _MIN_DRAINED_BYTES < left_bytes <= drain.left_bytes:
            drain.left_bytes, drain.since_s = left_bytes, now
        else:
            # while a request is handled, its own watch comes first and knows more of it
            patience_s = self.limits.client_s * (2 if connection.waits_since_s is None else 1)
            return now - drain.since_s > patience_s
        return False


def network_of(peer: str) -> str:
    """The network of a client's address: an IPv6 subscriber has a /64."""
    try:
        # a zone (`fe80::1%eth0`) is this machine's name for an interface, not a part of the address
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Address(int(address) >> 64 << 64))
    return peer
