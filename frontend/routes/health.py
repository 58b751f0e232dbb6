"""Liveness and readiness. Liveness asks nobody; readiness is what the last look at Triton said."""

from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from frontend.generation.run import Runner
from frontend.http.send import send_bytes


@dataclass(frozen=True, slots=True)
class HealthRoutes:
    """For load balancers and people."""

    runner: Runner

    async def live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /healthz"""
        await send_bytes(send, b'{"status":"ok"}')

    async def ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /readyz"""
        if self.runner.admission.draining:
            await send_bytes(send, b'{"status":"draining"}', status=503)
        elif self.runner.catalogue.is_ready:
            await send_bytes(send, b'{"status":"ready"}')
        else:
            await send_bytes(send, b'{"status":"no model is served"}', status=503)
