"""Metrics for Prometheus: for admins, and for callers on this machine."""

import asyncio
from dataclasses import dataclass

import orjson

from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.telemetry.history import History
from frontend.telemetry.metrics import CONTENT_TYPE, Metrics

# they need a permission, and change with each request


@dataclass(frozen=True, slots=True)
class MetricsRoutes:
    """The gateway's metrics with those of its upstreams, now and in the last hour."""

    metrics: Metrics
    past: History

    async def show(self, _: Request, client: Client) -> None:
        """GET /metrics, /admin/metrics"""
        self.metrics.refresh()
        # with many models it takes milliseconds
        text = await asyncio.to_thread(self.metrics.render)
        await client.respond(text, kind=CONTENT_TYPE)

    async def history(self, _: Request, client: Client) -> None:
        """GET /admin/metrics/history"""
        found = {"interval_s": self.past.interval_s, "points": [*self.past.points]}
        await client.respond(orjson.dumps(found))
