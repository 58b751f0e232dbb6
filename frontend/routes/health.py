"""Liveness, readiness and version. Liveness asks nothing; readiness is what the last poll of Triton
said."""

from dataclasses import dataclass
from importlib.metadata import version

import orjson

from frontend.domain.request import Request
from frontend.generation.path import Path
from frontend.http.client import Client


@dataclass(frozen=True, slots=True)
class HealthRoutes:
    """For load balancers and people."""

    path: Path

    async def version(self, _: Request, client: Client) -> None:
        """GET /version"""
        known = {"version": version("triton-toolkit"), "server": "triton-toolkit"}
        await client.respond(orjson.dumps(known))

    async def live(self, _: Request, client: Client) -> None:
        """GET /healthz"""
        await client.respond(b'{"status":"ok"}')

    async def ready(self, _: Request, client: Client) -> None:
        """GET /readyz, /health"""
        if self.path.draining:
            await client.respond(b'{"status":"draining"}', status=503)
        elif self.path.fleet.is_ready:
            await client.respond(b'{"status":"ready"}')
        else:
            await client.respond(b'{"status":"no model is served"}', status=503)
