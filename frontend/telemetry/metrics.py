"""The gateway's metrics, in a registry of its own: two gateways in one process count apart.

Labels take values from the code alone, never from a request.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest

from frontend.domain.metering import UsageRow

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

        self._requests = self._count("usage_requests", "Requests that models have seen")
        self._failures = self._count("usage_failures", "Those of them that failed")
        self._tokens = Counter(
            "gateway_usage_tokens",
            "Tokens that were charged",
            ["kind"],
            registry=self._registry,
        )
        self._images = self._count("usage_images", "Images that were made")
        self._credits = self._count("usage_credits", "Credits that were spent")
        self._price = self._count("usage_price", "Money that requests cost, in the price's unit")
        self.usage_lost = self._count("usage_lost", "Requests without limits that are not in usage")

    def charge(self, row: UsageRow) -> None:
        """Counts a request that is in the database."""
        used = row.usage
        self._requests.inc()
        self._failures.inc(row.status >= 400)
        for kind, tokens in (
            ("prompt", used.prompt_tokens),
            ("cached", used.cached_tokens),
            ("completion", used.completion_tokens),
            ("reasoning", used.reasoning_tokens),
        ):
            self._tokens.labels(kind).inc(tokens)
        self._images.inc(row.images)
        # the ledger counts in millionths, so that its sums are exact integers
        self._credits.inc(row.credits / 1e6)
        self._price.inc(row.price / 1e6)

    def _count(self, name: str, meaning: str) -> Counter:
        return Counter(f"gateway_{name}", meaning, registry=self._registry)

    def render(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self._registry)
