"""Makes the sinks of log lines that the settings name; starts none of them."""

import base64
import socket
import ssl
from pathlib import Path

from frontend.settings.logs import LogSettings
from frontend.telemetry.logs.local import FileSink, StreamSink
from frontend.telemetry.logs.post import Endpoint
from frontend.telemetry.logs.ship import ShippingSink
from frontend.telemetry.logs.sink import Sink
from frontend.telemetry.logs.spool import Spool
from frontend.telemetry.logs.targets import Elastic, Loki, Splunk, Target


def make_sinks(settings: LogSettings, folder: Path) -> list[Sink]:
    """One for each place that is named. What waits for those on the network is in `folder`."""
    most, sinks = settings.log_waiting_lines, list[Sink]()
    if settings.log_to != "none":
        descriptor = 1 if settings.log_to == "stdout" else 2
        is_text = settings.log_format == "text"
        sinks.append(StreamSink(settings.log_to, descriptor, most, is_text=is_text))
    if (file := settings.log_file) is not None:
        sinks.append(FileSink(file, settings.log_file_bytes, settings.log_file_kept, most))
    for name, target in _targets(settings).items():
        # one folder for each, in the gateway's own, so that several sinks do not share their bounds
        spool = Spool(folder / name, settings.log_spool_bytes)
        sinks.append(ShippingSink(name, target, spool, most))
    return sinks


def _targets(settings: LogSettings) -> dict[str, Target]:
    host, targets = socket.gethostname(), dict[str, Target]()
    if url := settings.log_elastic_url:
        path = f"/{settings.log_elastic_index}/_bulk"
        endpoint = _endpoint(settings, url, path, _authorization("ApiKey", settings, "elastic"))
        targets["elastic"] = Elastic(endpoint)
    if url := settings.log_splunk_url:
        headers = _authorization("Splunk", settings, "splunk")
        endpoint = _endpoint(settings, url, "/services/collector/event", headers)
        targets["splunk"] = Splunk(endpoint, host, settings.log_splunk_index)
    if url := settings.log_loki_url:
        headers = _authorization("Bearer", settings, "loki")
        if settings.log_loki_tenant:
            headers["x-scope-orgid"] = settings.log_loki_tenant
        targets["loki"] = Loki(_endpoint(settings, url, "/loki/api/v1/push", headers), host)
    return targets


def _endpoint(settings: LogSettings, url: str, path: str, headers: dict[str, str]) -> Endpoint:
    tls = None
    if url.startswith("https:"):
        tls = ssl.create_default_context(cafile=settings.log_ca_file)
    base = url.rstrip("/").removesuffix(path)
    return Endpoint(base + path, headers, settings.log_timeout_s, tls)


def _authorization(scheme: str, settings: LogSettings, sink: str) -> dict[str, str]:
    if not (token := settings.token(sink)):
        return {}
    if ":" in token and scheme != "Splunk":
        scheme, token = "Basic", base64.b64encode(token.encode()).decode()
    return {"authorization": f"{scheme} {token}"}
