"""Traces, where the settings name a collector. OpenTelemetry is imported only then."""

from collections.abc import MutableMapping
from importlib.metadata import version
from typing import TYPE_CHECKING

from frontend.settings.traces import TraceSettings
from frontend.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from frontend.telemetry.traces.tracing import Tracing


def make_tracing(
    settings: TraceSettings, metrics: Metrics, ids: MutableMapping[str, str]
) -> "Tracing | None":
    """None where there are no traces. `ids` gets the ids of running requests' traces."""
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
