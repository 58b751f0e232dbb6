"""The gateway's metrics, in a registry of its own: two gateways in one process count apart.

Labels take values from the code alone, never from a request.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What is counted, and its text for Prometheus."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)  # CPU, memory, file descriptors
        self.blocks = Counter(
            "gateway_event_loop_blocks",
            "How often the event loop was blocked for longer than its limit",
            registry=self._registry,
        )
        self.blocked_s = Counter(
            "gateway_event_loop_blocked_seconds",
            "How long the event loop was blocked in these cases",
            registry=self._registry,
        )
        self.connections = Gauge("gateway_connections", "Open connections", registry=self._registry)
        self.refused = Counter(
            "gateway_connections_refused",
            "Connections refused because there were too many",
            registry=self._registry,
        )

    def render(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self._registry)
