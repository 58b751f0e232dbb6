"""Connections are bounded in all and per address; idle ones make room."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.http.connections import Connections, network_of
from frontend.http.limits import Limits

LIMITS = Limits(connections=6, connections_per_address=4, client_s=30, idle_s=75)


@dataclass
class Transport:
    """Remembers what became of it."""

    left_bytes: int = 0
    is_open: bool = True

    def get_write_buffer_size(self) -> int:
        return self.left_bytes

    def abort(self) -> None:
        self.is_open = False

    close = abort


@dataclass(eq=False)
class Peer:
    """A connection as `Connections` sees it."""

    waits_since_s: float | None = None
    served: int = 0
    transport: Any = field(default_factory=Transport)

    def patience_s(self) -> float:
        return LIMITS.idle_s if self.served else LIMITS.client_s


@dataclass
class Clock:
    now_s: float = 0

    def __call__(self) -> float:
        return self.now_s


def full_of(*peers: Peer, address: str = "a") -> Connections:
    connections = Connections(LIMITS, Clock())
    for peer in peers:
        assert connections.admit(peer, address) is None
    return connections


def test_an_address_has_its_share_and_all_have_theirs() -> None:
    refused: list[None] = []
    connections = Connections(LIMITS, Clock(), lambda: refused.append(None))
    told = [connections.admit(Peer(), address) for address in "aaaaabbb"]
    assert told == [None, None, None, None, "address", None, None, "all"]
    assert (len(connections), len(refused)) == (6, 2)


def test_a_closed_connection_makes_room_once() -> None:
    peers = [Peer() for _ in range(4)]
    connections = full_of(*peers)
    for _ in range(2):
        connections.remove(peers[0])
    assert [connections.admit(Peer(), "a") for _ in range(2)] == [None, "address"]


def test_the_idlest_makes_room_and_first_those_that_never_asked_anything() -> None:
    busy, used = Peer(None, 1), Peer(1, served=1)
    new, newer = Peer(5), Peer(6)
    connections = full_of(busy, used, new, newer)
    assert connections.admit(Peer(7), "a") is None
    assert [peer.transport.is_open for peer in (busy, used, new, newer)] == [
        True,
        True,
        False,
        True,
    ]


def test_other_addresses_make_room_only_when_all_are_too_many() -> None:
    connections = full_of(Peer(1), Peer(2))
    mine = [Peer(None) for _ in range(4)]
    for peer in mine:
        assert connections.admit(peer, "b") is None
    assert connections.admit(Peer(9), "b") == "address"
    assert connections.admit(Peer(9), "c") is None


def test_a_server_full_of_work_does_not_look_for_idle_ones_each_time() -> None:
    peers = [Peer() for _ in range(4)]
    connections = full_of(*peers)
    assert connections.admit(Peer(), "a") == "address"
    peers[0].waits_since_s = 0
    assert connections.admit(Peer(), "a") == "address"
    connections.clock.now_s += 1  # type: ignore[attr-defined]
    assert connections.admit(Peer(), "a") is None


def swept(connections: Connections, seconds: float) -> None:
    for _ in range(int(seconds)):
        connections.clock.now_s += 1  # type: ignore[attr-defined]
        connections.sweep()


def test_whoever_waits_too_long_is_closed() -> None:
    silent, idle, busy = Peer(0), Peer(0, served=1), Peer(None)
    connections = full_of(silent, idle, busy)
    swept(connections, 30)
    assert silent.transport.is_open
    swept(connections, 1)
    assert not silent.transport.is_open
    swept(connections, 44)
    assert idle.transport.is_open
    swept(connections, 1)
    assert not idle.transport.is_open
    swept(connections, 1000)
    assert busy.transport.is_open


@pytest.mark.parametrize(("waits_since_s", "patience_s"), [(None, 60), (0.0, 30)])
def test_an_answer_that_is_not_read_ends(waits_since_s: float | None, patience_s: int) -> None:
    peer = Peer(waits_since_s, served=1, transport=Transport(100_000))
    connections = full_of(peer)
    swept(connections, patience_s + 1)
    assert peer.transport.is_open
    swept(connections, 1)
    assert not peer.transport.is_open


def test_an_answer_that_is_read_a_byte_at_a_time_ends() -> None:
    peer = Peer(None, transport=Transport(100_000))
    connections = full_of(peer)
    for _ in range(70):
        peer.transport.left_bytes -= 1
        swept(connections, 1)
    assert not peer.transport.is_open


def test_an_answer_that_is_read_slowly_may_take_its_time() -> None:
    peer = Peer(None, transport=Transport(5_000_000))
    connections = full_of(peer)
    while peer.transport.left_bytes > 0:
        peer.transport.left_bytes -= 2000
        swept(connections, 1)
    assert peer.transport.is_open


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
    ],
)
def test_a_subscriber_is_one_address(peer: str, network: str) -> None:
    assert network_of(peer) == network


@given(st.lists(st.tuples(st.sampled_from("aabc"), st.sampled_from("wbl"), st.integers(0, 20))))
def test_the_limits_hold_whatever_happens(steps: list[tuple[str, str, int]]) -> None:
    connections = Connections(LIMITS, Clock())
    inside: list[Peer] = []
    for address, what, number in steps:
        connections.clock.now_s += 1  # type: ignore[attr-defined]
        if what == "l" and inside:
            connections.remove(inside.pop(number % len(inside)))
        else:
            peer = Peer(float(number) if what == "w" else None)
            if connections.admit(peer, address) is None:
                inside.append(peer)
        inside = [peer for peer in inside if peer.transport.is_open]
        assert len(connections) == len(inside) <= LIMITS.connections
        assert max(connections._counts.values(), default=0) <= LIMITS.connections_per_address
        assert sum(connections._counts.values()) == len(connections)
