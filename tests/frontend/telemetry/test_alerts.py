"""Alerts from what one gateway knows of itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from frontend.telemetry.alerts import Alerts, Gauges

CALM = Gauges({"a": 1.0}, {"a": 0}, {"a": 0.0}, 0, 0, 50, 100)
NOW_S = 10_000.0


def alerts(gauges: Gauges = CALM, points: list[dict[str, Any]] | None = None) -> Alerts:
    return Alerts(lambda: gauges, lambda: points or [], lambda: NOW_S)


def point(age_s: float, **values: float) -> dict[str, Any]:
    return {"time": NOW_S - age_s, "models": {"m": values}}


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"upstream_up": {"a": 0.0}}, "GatewayUpstreamDown"),
        ({"breakers": {"a": 2}}, "GatewayBreakerOpen"),
        ({"metrics_stale": {"a": 1.0}}, "GatewayUpstreamMetricsStale"),
        ({"ledger_backlog": 1001}, "GatewayLedgerBacklog"),
        ({"audit_backlog": 5001}, "GatewayAuditBacklog"),
        ({"disk_free": 9}, "GatewayDiskFull"),
    ],
)
def test_each_gauge_has_its_alert(changed: dict[str, Any], name: str) -> None:
    assert alerts().check() == []
    (held,) = alerts(replace(CALM, **changed)).check()
    assert held["name"] == name
    assert held["since"] == NOW_S


def test_models_raise_alerts_when_they_are_slow_or_fail_for_five_minutes() -> None:
    slow = {"queue_wait_p95_s": 12.0, "first_token_p95_s": 15.0, "requests": 10.0, "errors": 1.0}
    names = [one["name"] for one in alerts(points=[point(250, **slow), point(10, **slow)]).check()]
    assert names == ["GatewayErrorRatioHigh", "GatewayFirstTokenSlow", "GatewayQueueWaitHigh"]
    # a single quick reading, or one that is too old, ends them
    quick = {"queue_wait_p95_s": 1.0, "first_token_p95_s": 1.0, "requests": 300.0}
    assert alerts(points=[point(250, **slow), point(10, **quick)]).check() == []
    assert alerts(points=[point(301, **slow)]).check() == []
    few = {"requests": 5.0, "errors": 5.0}
    assert alerts(points=[point(10, **few)]).check() == []


def test_since_is_kept_until_the_alert_ends() -> None:
    now = [NOW_S]
    current = [replace(CALM, ledger_backlog=2000)]
    held = Alerts(lambda: current[0], list, lambda: now[0])
    held.check()
    now[0] += 60
    assert held.check()[0]["since"] == NOW_S
    current[0] = CALM
    assert held.check() == []
    current[0] = replace(CALM, ledger_backlog=2000)
    assert held.check()[0]["since"] == NOW_S + 60


def test_names_and_severities_are_those_of_prometheus() -> None:
    rules = yaml.safe_load(Path("deploy/prometheus/rules.yml").read_text())
    known = {
        rule["alert"]: rule["labels"]["severity"]
        for group in rules["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    bad = Gauges({"a": 0.0}, {"a": 1}, {"a": 1.0}, 10_000, 10_000, 1, 100)
    slow = point(10, queue_wait_p95_s=99.0, first_token_p95_s=99.0, requests=99.0, errors=99.0)
    held = alerts(bad, [slow]).check()
    assert len(held) == 9
    assert all(known[one["name"]] == one["severity"] for one in held)
    assert held[0]["severity"] == "critical"
