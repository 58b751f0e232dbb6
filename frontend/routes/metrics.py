"""Metrics for Prometheus: for admins, and for callers on this machine."""

import asyncio
from dataclasses import dataclass

from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.telemetry.metrics import CONTENT_TYPE, Metrics


@dataclass(frozen=True, slots=True)
class MetricsRoutes:
    """The gateway's own metrics."""

    metrics: Metrics

    async def show(self, _: Request, client: Client) -> None:
        """GET /metrics, /admin/metrics"""
        self.metrics.refresh()
        # with many models it takes milliseconds
        text = await asyncio.to_thread(self.metrics.render)
        await client.respond(text, kind=CONTENT_TYPE)
