"""Begins and ends the trace of each request, and owns what sends its spans.

A request continues the trace that its client names in `traceparent`; a header that is not valid
begins a new one. There is no global state of OpenTelemetry, and no ambient context.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from frontend.domain.request import Outcome
from frontend.domain.trace import Trace
from frontend.telemetry.traces.export import Exporting
from frontend.telemetry.traces.spans import SpanTrace, UnsampledTrace, fail

_CLOSE_S = 2.0
"""Of the four seconds that a gateway has to end after its drain."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_GONE = ("client_gone", "client_stalled")
_MAX_PARENT = 256
_MAX_STATE = 512
_PROPAGATOR = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class Collector:
    """Where spans are sent. `headers` may have a token, so they are never shown."""

    url: str
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 10.0
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """What is recorded. `ratio` of new traces; `follows_clients`: those that a client has sampled
    are recorded, and others of its traces are not. `text`: prompts, where the audit has them."""

    service: str = "triton-gateway"
    version: str = ""
    ratio: float = 1.0
    follows_clients: bool = True
    text: bool = False


class Tracing:
    """The traces of one gateway. `ids` gets the ids of running requests' traces."""

    def __init__(
        self,
        collector: Collector,
        recording: Recording,
        max_waiting: int,
        counts: tuple[Callable[[int], None], Callable[[int], None]],
        ids: MutableMapping[str, str],
    ) -> None:
        """`counts` are called with numbers of spans that were sent, and that were lost."""
        self._text, self._ids = recording.text, ids
        self.exporting = Exporting(_exporter(collector), max_waiting, *counts)
        ratio = TraceIdRatioBased(recording.ratio)
        provider = TracerProvider(
            sampler=ParentBased(ratio) if recording.follows_clients else ratio,
            resource=Resource.create(
                {"service.name": recording.service, "service.version": recording.version}
            ),
            shutdown_on_exit=False,
            # the longest attributes are the text of prompts, which `content` cuts
            span_limits=SpanLimits(max_span_attributes=64, max_events=16),
        )
        provider.add_span_processor(self.exporting)
        self._tracer = provider.get_tracer("triton-toolkit", recording.version)

    def begin(
        self, outcome: Outcome, headers: Iterable[tuple[bytes, bytes]] = (), batch: str = ""
    ) -> Trace:
        """The trace of a request that just arrived, or of a line of the batch with this id."""
        method = outcome.method if outcome.method in _METHODS else "_OTHER"
        shown = {"http.request.method": method, "gateway.request.id": outcome.id}
        if batch:
            shown["gateway.batch.id"] = batch
        span = self._tracer.start_span(method, _parent_in(headers), SpanKind.SERVER, shown)
        trace: Trace = (
            SpanTrace(self._tracer, span, text=self._text)
            if span.is_recording()
            else UnsampledTrace(span)
        )
        self._ids[outcome.id] = trace.id or ""
        return trace

    def end(self, outcome: Outcome) -> None:
        """The request has ended."""
        self._ids.pop(outcome.id, None)
        trace = outcome.trace
        if not isinstance(trace, SpanTrace):
            return
        span, status = trace.span, outcome.status or 499
        if outcome.route:
            span.update_name(f"{outcome.method} {outcome.route}")
            span.set_attribute("http.route", outcome.route)
        span.set_attribute("http.response.status_code", status)
        span.set_attribute("gateway.dialect", outcome.dialect.value)
        if outcome.model is not None:
            span.set_attribute("gateway.model", outcome.model)
        if outcome.is_authenticated:
            span.set_attribute("user.id", outcome.caller.user)
        if (error := outcome.error) is not None:
            # a client's own mistake is not a failure of the server (conventions for HTTP spans)
            if status < 500 and (status >= 400 or error in _GONE):
                span.set_attribute("error.type", error)
            else:
                fail(span, error)
        span.end()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sends until the block ends, and then what is left, as far as the time allows."""
        self.exporting.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self.exporting.close, _CLOSE_S)


def _exporter(collector: Collector) -> OTLPSpanExporter:
    session = requests.Session()
    # a redirect would carry the headers elsewhere
    session.max_redirects = 0
    return OTLPSpanExporter(
        endpoint=collector.url,
        headers=collector.headers,
        timeout=collector.timeout_s,
        certificate_file=collector.ca_file,
        compression=Compression.Gzip,
        session=session,
    )


def _parent_in(headers: Iterable[tuple[bytes, bytes]]) -> Context:
    """The client's place in its trace; an empty context for none, or one that is not valid."""
    parents = [value for name, value in headers if name == b"traceparent"]
    # several of them are not valid (W3C Trace Context, section 3.2.1)
    if len(parents) != 1 or len(parents[0]) > _MAX_PARENT:
        return Context()
    carrier = {"traceparent": parents[0].decode("latin-1")}
    state = b",".join(value for name, value in headers if name == b"tracestate")
    # the section 3.3.1.5: one that is too long may be left out whole
    if state and len(state) <= _MAX_STATE:
        carrier["tracestate"] = state.decode("latin-1")
    return _PROPAGATOR.extract(carrier, Context())
