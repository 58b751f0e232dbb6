"""Metrics for Prometheus: for admins, and for whoever is on this machine."""

from dataclasses import dataclass
from ipaddress import ip_address

from starlette.types import Receive, Scope, Send

from frontend.http.send import send_bytes
from frontend.http.sites import is_loopback, name_of
from frontend.telemetry.metrics import CONTENT_TYPE, Metrics

_RELAYED = frozenset((b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"))


@dataclass(frozen=True, slots=True)
class MetricsRoutes:
    """One ASGI application per route; `frontend.app` has the table."""

    metrics: Metrics

    async def show(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /metrics"""
        await send_bytes(send, self.metrics.render(), kind=CONTENT_TYPE)


def is_local(scope: Scope) -> bool:
    """Whether it is this machine that asks: not a proxy on it, and no page under another's name."""
    client, hosts = scope.get("client"), []
    for name, value in scope["headers"]:
        if name in _RELAYED:
            return False
        if name == b"host":
            hosts.append(value)
    if client is None or not all(is_loopback(name_of(host)) for host in hosts):
        return False
    try:
        return ip_address(client[0]).is_loopback
    except ValueError:
        return False
