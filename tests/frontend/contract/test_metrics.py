"""Metrics and health, and who may see them."""

import sqlite3
from pathlib import Path

import httpx2

from frontend.accounts.keyfile import add_key
from tests.support.echo import EchoTriton
from tests.support.gateway import run_gateway
from tests.support.metrics import samples_of, value_of
from tests.support.processes import free_port, wait_for


def test_health_is_readiness(raw: httpx2.Client) -> None:
    body = raw.get("/readyz").json()
    assert raw.get("/health").json() == body
    assert (body["status"], body["failed"]) == ("ready", [])
    assert body["checks"] == {"gateway": "ok", "database": "ok", "upstreams": "ok"}


def test_readiness_says_which_part_fails_and_admins_learn_why(
    echo_triton: EchoTriton, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    admin = {"x-api-key": add_key(keys, "ops", "admin")}
    flags = ("--keys-file", str(keys), "--data-directory", str(tmp_path / "data"))
    with (
        run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway,
        httpx2.Client(base_url=gateway.url) as http,
    ):
        status = http.get("/admin/status", headers=admin).json()
        assert status["database"]["revision"] == status["database"]["needed_revision"]
        (upstream,) = status["upstreams"]
        assert (upstream["name"], upstream["reachable"]) == ("triton", True)
        assert "echo" in upstream["models"]
        assert "echo" in status["models"]["ready"]
        assert status["queue"] == {"running": 0, "waiting": 0}
        assert "ledger" in status["backlog"]
        assert status["uptime_s"] > 0
        assert http.get("/admin/status").status_code == 401
        # SQLite does not miss a file that is deleted; one with other tables it does
        with sqlite3.connect(tmp_path / "data/gateway.db") as database:
            database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.close()
        wait_for(lambda: http.get("/readyz").status_code == 503, what="the next reading")
        body = http.get("/readyz").json()
        assert (body["status"], body["failed"]) == ("not ready", ["database"])
        assert body["checks"]["database"] == "not available"
        status = http.get("/admin/status", headers=admin).json()
        assert status["database"]["failure"] == "its tables are unknown"
        assert http.get("/healthz").status_code == 200


def test_without_an_upstream_nothing_is_ready_and_admins_learn_why(tmp_path: Path) -> None:
    triton, keys = f"127.0.0.1:{free_port()}", tmp_path / "keys"
    admin = {"x-api-key": add_key(keys, "ops", "admin")}
    flags = ("--keys-file", str(keys))
    with run_gateway(triton, tmp_path / "log", *flags, wait_ready=False) as gateway:
        known = httpx2.get(f"{gateway.url}/admin/status", headers=admin).json()
        (upstream,) = known["upstreams"]
        assert upstream["reachable"] is False
        assert upstream["error"], "the reason, as it is in /admin/overview"
        shown = httpx2.get(f"{gateway.url}/admin/overview", headers=admin).json()
        assert upstream["error"] == shown["upstreams"][0]["error"]
        answer = httpx2.get(f"{gateway.url}/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["upstreams"] == "no upstream answers"
        status = httpx2.get(f"{gateway.url}/metrics").text
        assert value_of(status, "gateway_upstream_up", upstream="triton") == 0


def test_metrics_are_prometheuss(raw: httpx2.Client) -> None:
    answer = raw.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    values = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if line[0] != "#")
    assert float(values["process_resident_memory_bytes"]) > 10e6
    assert float(values["process_cpu_seconds_total"]) > 0
    assert float(values["gateway_connections"]) >= 1
    assert "gateway_event_loop_blocks_total" in values
    # a label that is not one of these could have what a caller chose
    labels = {
        label for found in samples_of(answer.text).values() for each, _ in found for label in each
    }
    known = {
        "dialect",
        "kind",
        "le",
        "model",
        "queue",
        "reason",
        "sink",
        "result",
        "route",
        "state",
        "status",
    }
    assert labels <= known | {"upstream"}


def test_metrics_are_for_this_machine_and_for_admins(
    echo_triton: EchoTriton, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    user, admin = add_key(keys, "ada", "user"), add_key(keys, "ops", "admin")
    flags = ("--keys-file", str(keys))
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway:
        url = f"{gateway.url}/metrics"
        assert httpx2.get(url).status_code == 200
        for elsewhere in (
            {"host": "rebound.example"},
            {"x-forwarded-for": "192.0.2.1"},
            {"forwarded": "for=192.0.2.1"},
        ):
            for secret, status in (("", 401), (user, 403), (admin, 200)):
                headers = {**elsewhere, "x-api-key": secret}
                assert httpx2.get(url, headers=headers).status_code == status
