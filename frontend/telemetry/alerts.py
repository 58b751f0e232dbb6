"""The alerts that hold at present, from what this process knows of itself.

They have the names and thresholds of `deploy/prometheus/rules.yml`, for an operator without
Prometheus; those that need hours of history or other gateways are only there.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RECENT_S = 300.0
_SLOW_S = 10.0
_MOST_ERRORS = 0.05
_LEAST_REQUESTS = 6
"""Fewer than that in five minutes say little about a ratio."""
_MOST_LEDGER, _MOST_AUDIT, _LEAST_DISK = 1000, 5000, 0.1


@dataclass(frozen=True, slots=True)
class Alert:
    """What is wrong, with what (`subject`: an upstream or a model, or "")."""

    name: str
    severity: str
    subject: str
    summary: str


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is read when somebody asks: by upstream, by queue, by canary, or one number."""

    upstream_up: Mapping[str, float]
    breakers: Mapping[str, float]
    metrics_stale: Mapping[str, float]
    ledger_backlog: float
    audit_backlog: float
    disk_free: float
    disk_size: float
    withdrawn: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Alerts:
    """The alerts of one gateway, and since when each holds."""

    gauges: Callable[[], Gauges]
    points: Callable[[], Sequence[Mapping[str, Any]]]
    now_s: Callable[[], float] = time.time
    _since_s: dict[tuple[str, str], float] = field(default_factory=dict)

    def check(self) -> list[dict[str, Any]]:
        """Those that hold now, the most severe first."""
        now_s = self.now_s()
        recent = [point for point in self.points() if point["time"] > now_s - RECENT_S]
        holding = [*_of_gauges(self.gauges()), *_of_models(recent)]
        self._since_s = {
            (one.name, one.subject): self._since_s.get((one.name, one.subject), now_s)
            for one in holding
        }
        holding.sort(key=lambda one: (one.severity != "critical", one.name, one.subject))
        return [
            {
                "name": one.name,
                "severity": one.severity,
                "subject": one.subject,
                "summary": one.summary,
                "since": int(self._since_s[one.name, one.subject]),
            }
            for one in holding
        ]


def _of_gauges(now: Gauges) -> Iterator[Alert]:
    for name, up in now.upstream_up.items():
        if not up:
            text = f"The upstream {name} does not answer."
            yield Alert("GatewayUpstreamDown", "critical", name, text)
    for name, count in now.breakers.items():
        if count:
            text = f"Models of the upstream {name} keep failing: {count:.0f}."
            yield Alert("GatewayBreakerOpen", "warning", name, text)
    for name, is_stale in now.metrics_stale.items():
        if is_stale:
            text = f"The metrics of the upstream {name} cannot be read."
            yield Alert("GatewayUpstreamMetricsStale", "warning", name, text)
    for name, count in now.withdrawn.items():
        if count:
            text = f"Models failed and get no more requests for {name}: {count:.0f}."
            yield Alert("GatewayCanaryWithdrawn", "warning", name, text)
    if now.ledger_backlog > _MOST_LEDGER:
        text = f"{now.ledger_backlog:.0f} entries of the ledger wait for the database."
        yield Alert("GatewayLedgerBacklog", "warning", "", text)
    if now.audit_backlog > _MOST_AUDIT:
        text = f"{now.audit_backlog:.0f} audit records wait to be written."
        yield Alert("GatewayAuditBacklog", "warning", "", text)
    if now.disk_size and now.disk_free / now.disk_size < _LEAST_DISK:
        text = f"The disk has {now.disk_free / now.disk_size:.0%} left."
        yield Alert("GatewayDiskFull", "critical", "", text)


def _of_models(recent: Sequence[Mapping[str, Any]]) -> Iterator[Alert]:
    models = sorted({name for point in recent for name in point["models"]})
    for name in models:
        seen = [point["models"][name] for point in recent if name in point["models"]]
        requests = sum(one.get("requests", 0) for one in seen)
        errors = sum(one.get("errors", 0) for one in seen)
        if requests >= _LEAST_REQUESTS and errors / requests > _MOST_ERRORS:
            text = f"{errors / requests:.0%} of the requests for {name} fail."
            yield Alert("GatewayErrorRatioHigh", "critical", name, text)
        if (wait_s := _lasting(one.get("queue_wait_p95_s") for one in seen)) > _SLOW_S:
            text = f"One request in 20 for {name} waits more than {wait_s:.0f} s for a slot."
            yield Alert("GatewayQueueWaitHigh", "warning", name, text)
        if (first_s := _lasting(one.get("first_token_p95_s") for one in seen)) > _SLOW_S:
            text = f"One answer in 20 of {name} begins after more than {first_s:.0f} s."
            yield Alert("GatewayFirstTokenSlow", "warning", name, text)


def _lasting(values: Iterable[float | None]) -> float:
    """The smallest measured value: a single slow request does not raise an alert."""
    return min((value for value in values if value is not None), default=0.0)
