"""The share of the server's connections that one client, and all clients, may use."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """`client_s`: time to send a head, to take an answer; `idle_s`: time between two requests.

    `discarded_bytes`: how much of an unread body is read on, so that its sender gets the answer.
    """

    connections: int = 4096
    connections_per_address: int = 2048
    head_bytes: int = 64 * 1024
    headers: int = 100
    pipelined: int = 16
    discarded_bytes: int = 20 * 2**20
    client_s: float = 30.0
    idle_s: float = 75.0
