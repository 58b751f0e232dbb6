"""The dashboards and rules against what they are for: PromQL's grammar, promtool, and a real
Prometheus that scrapes a gateway with traffic."""

import asyncio
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import promql_parser
import pytest
import yaml

from deploy.generate import FOLDER, dashboard_json
from deploy.grafana.dashboards import DASHBOARDS, expressions
from frontend.store.database import Database
from tests.support.accounts import add, opened
from tests.support.databases import Databases, server_folder
from tests.support.echo import EchoTriton, script
from tests.support.gateway import run_gateway
from tests.support.processes import ROOT, free_port, status_of, wait_for

RULES = ROOT / "deploy/prometheus"
JSON = sorted(FOLDER.glob("*.json"))


def panels_in(value: Any) -> Iterator[dict[str, Any]]:
    """Everything in a dashboard's JSON that asks Prometheus, rows within rows as well."""
    for one in value if isinstance(value, list) else value.values():
        if isinstance(one, dict) and "targets" in one:
            yield one
        if isinstance(one, dict | list):
            yield from panels_in(one)


def asked() -> dict[str, str]:
    """The expression of each query of each panel, from what Grafana imports."""
    found = {}
    for file in JSON:
        for panel in panels_in(json.loads(file.read_text())):
            assert panel["targets"], f"{file.name}: the panel '{panel['title']}' asks nothing"
            for target in panel["targets"]:
                found[f"{file.stem}: {panel['title']} {target['refId']}"] = target["expr"]
    return found


ASKED = asked()
EXPRESSIONS = sorted({*ASKED.values()})
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no prometheus; docker/install-tools installs it"
)
UPSTREAM = """\
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{gpu_uuid="GPU-1"} 0.5
# TYPE nv_gpu_memory_used_bytes gauge
nv_gpu_memory_used_bytes{gpu_uuid="GPU-1"} 1e9
# TYPE nv_gpu_memory_total_bytes gauge
nv_gpu_memory_total_bytes{gpu_uuid="GPU-1"} 8e9
# TYPE nv_gpu_power_usage gauge
nv_gpu_power_usage{gpu_uuid="GPU-1"} 70
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model_name="m"} 1
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{model_name="m"} 0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{model_name="m"} 0.25
"""
"""What a GPU's Triton and vLLM's server say: a machine for tests has neither."""


def readable(expression: str) -> str:
    """With values for Grafana's variables."""
    return expression.replace("$__rate_interval", "10s").replace("$model", ".*")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_expression_is_promql(expression: str) -> None:
    promql_parser.parse(readable(expression))


def test_the_dashboards_are_current() -> None:
    for dashboard in DASHBOARDS:
        assert (FOLDER / f"{dashboard.name}.json").read_text() == dashboard_json(dashboard)
        panels = json.loads(dashboard_json(dashboard))["panels"]
        places = [(one["gridPos"]["x"], one["gridPos"]["y"]) for one in panels]
        assert len(set(places)) == len(places)
        assert len({one["title"] for one in panels}) == len(panels)


def test_no_panel_slips_out_of_the_check() -> None:
    assert {file.stem for file in JSON} == {one.name for one in DASHBOARDS}
    panels = [one for file in JSON for one in json.loads(file.read_text())["panels"]]
    assert len(panels) == sum(len(one.panels) for one in DASHBOARDS)
    assert len(ASKED) == sum(len(panel["targets"]) for panel in panels)
    assert {*EXPRESSIONS} >= {one for each in DASHBOARDS for one in expressions(each)}


def test_every_recorded_series_is_used_and_every_used_one_is_recorded() -> None:
    text = (RULES / "rules.yml").read_text()
    recorded = set(re.findall(r"record: (\S+)", text))
    assert len(recorded) == text.count("record: ")
    asked_for = [*re.findall(r"expr: (.*)", text), *EXPRESSIONS]
    used = {name for one in asked_for for name in re.findall(r"\bgateway:[\w:]+", one)}
    assert used == recorded


def test_each_alert_is_tested_where_it_fires_and_where_it_does_not() -> None:
    rules = yaml.safe_load((RULES / "rules.yml").read_text())
    alerts = {one["alert"] for each in rules["groups"] for one in each["rules"] if "alert" in one}
    tests = yaml.safe_load((RULES / "rules_test.yml").read_text())["tests"]
    cases = [case for one in tests for case in one["alert_rule_test"]]
    assert {one["alertname"] for one in cases if one.get("exp_alerts")} == alerts
    assert {one["alertname"] for one in cases if not one.get("exp_alerts")} == alerts
    for one in tests:
        fires = {bool(case.get("exp_alerts")) for case in one["alert_rule_test"]}
        # without a series that is below the limit, a limit that is too low would go unnoticed
        assert fires == {True, False} or "quiet" in one.get("name", ""), one
    quiet = {
        c["alertname"] for t in tests if "quiet" in t.get("name", "") for c in t["alert_rule_test"]
    }
    assert quiet == alerts


@needs_prometheus
def test_each_alert_fires_as_its_test_says() -> None:
    for command in (
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules_test.yml"),
    ):
        ran = subprocess.run(
            ["promtool", *command], cwd=RULES, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(UPSTREAM.encode())

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def serving_page() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/metrics"
        server.shutdown()
        thread.join()


@contextmanager
def run_prometheus(gateway: str, folder: Path) -> Iterator[str]:
    """A Prometheus with the project's rules; its URL."""
    config, port = folder / "prometheus.yml", free_port()
    text = (RULES / "prometheus.yml").read_text()
    text = re.sub(r"_interval: \w+", "_interval: 500ms", text)
    text = text.replace("127.0.0.1:9000", gateway).replace("rules.yml", str(RULES / "rules.yml"))
    config.write_text(text)
    command = [
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    log, url = folder / "prometheus.log", f"http://127.0.0.1:{port}"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink)
    try:
        wait_for(lambda: status_of(f"{url}/-/ready") == 200, what="an answer of Prometheus")
        yield url
    finally:
        process.terminate()
        process.wait(30)


async def _admin_key(databases: Databases) -> tuple[str, str]:
    location = databases.sqlite()
    database = Database(location)
    _, key = await add(await opened(database), "watcher", "admin")
    await database.close()
    return str(location.file), key


@dataclass
class Traffic:
    """Requests of each kind that the panels show."""

    url: str
    key: str

    def send(self) -> None:
        chat = {"model": "echo", "messages": script(text="a b c d"), "max_tokens": 4}
        for body, key in (
            (chat, self.key),
            ({**chat, "stream": True}, self.key),
            ({**chat, "model": "no-such-model"}, self.key),
            (chat, "wrong"),
        ):
            headers = {"authorization": f"Bearer {key}"}
            url = f"{self.url}/v1/chat/completions"
            httpx2.post(url, json=body, headers=headers, timeout=30)


def values(prometheus: str, expression: str) -> list[str]:
    """What Prometheus answers; never NaN, which is how it says that there is nothing."""
    answer = httpx2.get(f"{prometheus}/api/v1/query", params={"query": expression}, timeout=30)
    body: dict[str, Any] = answer.json()
    assert body["status"] == "success", (expression, body)
    found = [one["value"][1] for one in body["data"]["result"]]
    return [value for value in found if value != "NaN"]


@needs_prometheus
def test_no_panel_is_empty(echo_triton: EchoTriton, tmp_path: Path) -> None:
    databases = Databases(server_folder())
    file, key = asyncio.run(_admin_key(databases))
    recorded = re.findall(r"record: (\S+)", (RULES / "rules.yml").read_text())
    with serving_page() as page:
        urls = {"triton": f"http://127.0.0.1:{echo_triton.metrics_port}/metrics", "gpu": page}
        flags = [
            "--require-keys", "--database-url", f"sqlite:///{file}", "--metrics-by-user",
            "--metrics-urls", json.dumps(urls), "--metrics-interval-s", "1",
        ]  # fmt: skip
        with (
            run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway,
            run_prometheus(gateway.url.removeprefix("http://"), tmp_path) as prometheus,
        ):
            traffic = Traffic(gateway.url, key)
            empty = {*EXPRESSIONS, *recorded}

            def nothing_is_empty() -> bool:
                traffic.send()
                empty.difference_update([one for one in empty if values(prometheus, readable(one))])
                return not empty

            wait_for(nothing_is_empty, 120, f"values for {empty}")
            assert values(prometheus, 'up{job="triton-gateway"}') == ["1"]
            headers = {"authorization": f"Bearer {key}"}
            history = httpx2.get(f"{gateway.url}/admin/metrics/history", headers=headers).json()
            assert any("echo" in point["models"] for point in history["points"])
            assert history["points"][-1]["gpus"]["gpu/GPU-1"]["nv_gpu_utilization"] == 0.5
    databases.close()
