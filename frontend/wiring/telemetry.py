"""Metrics and their history, and traces where the settings have the URL of a collector.

OpenTelemetry is imported only for traces.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from frontend.settings import Settings
from frontend.settings.traces import TraceSettings
from frontend.telemetry.history import History
from frontend.telemetry.metrics import Metrics
from frontend.telemetry.scrape import Scraper

if TYPE_CHECKING:
    from frontend.telemetry.traces.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The metrics, traces and logs of a gateway."""

    metrics: Metrics
    history: History
    tracing: "Tracing | None"


def make_telemetry(settings: Settings, trace_ids: MutableMapping[str, str]) -> Telemetry:
    """`trace_ids` gets the trace ids of running requests."""
    scraper = Scraper(settings.metrics_urls, settings.metrics_interval_s)
    metrics = Metrics(scraper, by_user=settings.metrics_by_user)
    history = History(settings.metrics_interval_s, metrics.values, metrics.refresh)
    return Telemetry(metrics, history, _tracing(settings, metrics, trace_ids))


def _tracing(
    settings: TraceSettings, metrics: Metrics, ids: MutableMapping[str, str]
) -> "Tracing | None":
    if not settings.traces_url:
        return None
    # a tenth of a second and 20 MB that a gateway without traces does not need
    from frontend.telemetry.traces.tracing import Collector, Recording, Tracing  # noqa: PLC0415

    url, headers = settings.collector
    file = settings.traces_ca_file
    tracing = Tracing(
        Collector(url, headers, settings.traces_timeout_s, None if file is None else str(file)),
        Recording(
            settings.traces_service,
            version("triton-toolkit"),
            settings.traces_sampling,
            settings.traces_follow_clients,
            settings.traces_text,
        ),
        settings.traces_waiting_spans,
        (metrics.spans_sent.inc, metrics.spans_lost.inc),
        ids,
    )
    exporting = tracing.exporting
    metrics.watch("trace_spans_waiting", "Spans that wait to be sent", lambda: exporting.waiting)
    return tracing
