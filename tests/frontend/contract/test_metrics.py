"""Metrics and health, and who may see them."""

from pathlib import Path

import httpx2
import pytest

from frontend.accounts.keyfile import add_key
from tests.support.echo import EchoTriton
from tests.support.gateway import run_gateway
from tests.support.metrics import samples_of

pytestmark = pytest.mark.timeout(120)


def test_health_is_readiness(raw: httpx2.Client) -> None:
    assert raw.get("/health").json() == raw.get("/readyz").json() == {"status": "ready"}


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
