"""A collector of traces as far as OTLP over HTTP goes: it can refuse, drop and stall."""

import base64
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.processes import wait_for

_IDS = ("traceId", "spanId", "parentSpanId")


@dataclass
class Collector:
    """`mode`: accept, refuse (400), drop the connection, or stall until `release`."""

    mode: str = "accept"
    port: int = 0
    attempts: int = 0
    bodies: list[bytes] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[ExportTraceServiceRequest]:
        return [_request_of(body) for body in tuple(self.bodies)]

    @property
    def spans(self) -> list[Span]:
        groups = [group for one in self.requests for group in one.resource_spans]
        return [span for group in groups for scope in group.scope_spans for span in scope.spans]

    def trace(self, trace_id: str) -> list[Span]:
        return [span for span in self.spans if span.trace_id.hex() == trace_id]

    def whole(self, trace_id: str) -> dict[str, Span]:
        """The spans of a trace by their first word, once that of the request is there."""
        what = f"the trace {trace_id}"
        wait_for(
            lambda: any(one.kind == Span.SPAN_KIND_SERVER for one in self.trace(trace_id)),
            what=what,
        )
        return {span.name.split()[0]: span for span in self.trace(trace_id)}


def _request_of(body: bytes) -> ExportTraceServiceRequest:
    """OTLP as protobuf, or as JSON as Triton sends it."""
    if not body.startswith(b"{"):
        return ExportTraceServiceRequest.FromString(body)
    # OTLP writes these in hexadecimal, where protobuf's JSON has base64
    value = json.loads(body, object_hook=_in_base64)
    return json_format.ParseDict(value, ExportTraceServiceRequest(), ignore_unknown_fields=True)


def _in_base64(value: dict[str, Any]) -> dict[str, Any]:
    ids = {name: one for name, one in value.items() if name in _IDS and isinstance(one, str)}
    return value | {n: base64.b64encode(bytes.fromhex(one)).decode() for n, one in ids.items()}


def attributes(span: Span) -> dict[str, Any]:
    """The attributes of a span as plain values."""
    return {one.key: _plain(one.value) for one in span.attributes}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def collecting(mode: str = "accept") -> Iterator[Collector]:
    """Serves one until the block ends."""
    collector = Collector(mode)

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.attempts += 1
            body = self.rfile.read(int(self.headers["content-length"]))
            if collector.mode == "drop":
                return
            if collector.mode == "stall":
                collector.release.wait(60)
                return
            if collector.mode == "accept":
                collector.heads.append({k.lower(): v for k, v in self.headers.items()})
                is_packed = self.headers.get("content-encoding") == "gzip"
                collector.bodies.append(gzip.decompress(body) if is_packed else body)
            self.send_response(200 if collector.mode == "accept" else 400, "canary-reason")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    collector.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield collector
    finally:
        collector.release.set()
        server.shutdown()
        thread.join()
        server.server_close()
