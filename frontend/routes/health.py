"""Liveness, readiness, version and status.

Liveness checks nothing. Readiness is the result of the last poll of the upstreams and of a recent
read of the database. Only admins see the reasons.
"""

import os
import platform
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import orjson

from frontend.accounts.waiting import Waiting
from frontend.domain.request import Request
from frontend.generation.path import Path
from frontend.http.client import Client
from frontend.store.probe import Probe, Reading
from frontend.telemetry.metrics import Metrics
from frontend.upstreams.member import Member


@dataclass(frozen=True, slots=True)
class HealthRoutes:
    """For load balancers and people."""

    path: Path
    probe: Probe
    metrics: Metrics
    waiting: Waiting
    started_s: float = field(default_factory=time.time)

    async def version(self, _: Request, client: Client) -> None:
        """GET /version"""
        known = {"version": version("triton-toolkit"), "server": "triton-toolkit"}
        await client.respond(orjson.dumps(known))

    async def live(self, _: Request, client: Client) -> None:
        """GET /healthz"""
        await client.respond(b'{"status":"ok"}')

    async def ready(self, _: Request, client: Client) -> None:
        """GET /readyz, /health"""
        checks = self._checks(await self.probe.read())
        failed = [name for name, state in checks.items() if state != "ok"]
        status = "draining" if "gateway" in failed else "not ready" if failed else "ready"
        body = orjson.dumps({"status": status, "failed": failed, "checks": checks})
        await client.respond(body, status=503 if failed else 200)

    def _checks(self, database: Reading) -> dict[str, str]:
        fleet = self.path.fleet
        reachable = any(one.enabled and one.registry.is_reachable for one in fleet.members)
        upstreams = "ok" if fleet.is_ready else "no model is served"
        return {
            "gateway": "draining" if self.path.draining else "ok",
            "database": "ok" if database.failure is None else "not available",
            "upstreams": upstreams if reachable else "no upstream answers",
        }

    async def status(self, _: Request, client: Client) -> None:
        """GET /admin/status"""
        database, fleet = await self.probe.read(), self.path.fleet
        now_s = time.time()
        known = {
            "checks": self._checks(database),
            "version": version("triton-toolkit"),
            "python": platform.python_version(),
            "pid": os.getpid(),
            "started_at": int(self.started_s),
            "uptime_s": round(now_s - self.started_s, 1),
            "draining": self.path.draining,
            "database": {
                "kind": self.probe.kind,
                "revision": database.revision,
                "needed_revision": database.needed,
                "failure": database.failure,
            },
            "upstreams": [_upstream(one) for one in fleet.members],
            "upstream_metrics": self._upstream_metrics(),
            "models": {"ready": [m.name for m in fleet.models], "absent": fleet.absent},
            "activity": self.path.activity,
            "queue": {
                "running": self.path.queue.running,
                "waiting": self.path.queue.waiting,
            },
            "backlog": self.metrics.watched("backlog"),
            "pending_decisions": None if database.failure else await self.waiting.count(),
        }
        await client.respond(orjson.dumps(known))

    def _upstream_metrics(self) -> dict[str, dict[str, float | bool | None]]:
        scraper = self.metrics.scraper
        ages_s = scraper.ages_s
        return {
            name: {"stale": bool(is_stale), "age_s": ages_s.get(name)}
            for name, is_stale in scraper.stale.items()
        }


def _upstream(member: Member) -> dict[str, Any]:
    return {
        "name": member.name,
        "engine": member.placing.engine,
        "reachable": member.registry.is_reachable,
        "enabled": member.enabled,
        "draining": member.draining,
        "running": member.running,
        "models": [model.name for model in member.registry.models],
        "breakers": {model: state.value for model, state in member.broken.items()},
        "error": member.problem,
    }
