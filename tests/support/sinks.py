"""A log sink of the network: Elasticsearch, Splunk or Loki as far as the gateway uses them."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FakeSink:
    """`mode`: accept, fail (503), drop the connection, stall until `release`, send the head of its
    answer byte by byte (`trickle`), or end within its answer (`cut`)."""

    mode: str = "accept"
    port: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list)
    heads: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    refuses: str = "poison"
    """Lines with this text are refused."""
    busy_once: bool = False
    """Elasticsearch answers 429 to the first line of its next batch."""
    first: list[tuple[int, Any]] = field(default_factory=list)
    """Answers (status, JSON) to the next batches, which are not kept."""
    attempts: int = 0
    release: threading.Event = field(default_factory=threading.Event)
    _names: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines]

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        if path.endswith("/_bulk"):
            return 200, {"errors": True, "items": self._created(body)}
        if path.startswith("/services"):
            events = [json.loads(one)["event"] for one in body.splitlines()]
            return self._whole(events, {"code": 6})
        values = [v for one in json.loads(body)["streams"] for v in one["values"]]
        return self._whole([json.loads(line) for _, line in values], None)

    def _whole(self, events: list[dict[str, Any]], refusal: Any) -> tuple[int, Any]:
        if any(self.refuses in event["message"] for event in events):
            return 400, refusal
        self.lines += events
        return 200, {}

    def _created(self, body: bytes) -> list[Any]:
        rows = [json.loads(one) for one in body.splitlines()]
        statuses = []
        for action, line in zip(rows[::2], rows[1::2], strict=True):
            name = action["create"]["_id"]
            assert "@timestamp" in line
            if self.busy_once:
                self.busy_once, status = False, 429
            elif self.refuses in line["message"]:
                status = 400
            else:
                status = 409 if name in self._names else 201
            if status == 201:
                self._names.add(name)
                self.lines.append(line)
            statuses.append({"create": {"status": status}})
        return statuses


@contextmanager
def fake_sink(
    mode: str = "accept", port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[FakeSink]:
    """Serves one until the block ends."""
    sink = FakeSink(mode)

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sink.attempts += 1
            body = self.rfile.read(int(self.headers["content-length"]))
            if sink.mode == "drop":
                return
            if sink.mode == "stall":
                sink.release.wait(60)
                return
            if sink.mode == "trickle":
                while not sink.release.wait(0.05):
                    self.wfile.write(b"x")
                return
            status, answer = 503, None
            if sink.first:
                sink.heads.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                status, answer = sink.first.pop(0)
            elif sink.mode in ("accept", "cut"):
                sink.heads.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                status, answer = sink.answer(self.path, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[:-1] if sink.mode == "cut" else data)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", port), Answering)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    sink.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield sink
    finally:
        sink.release.set()
        server.shutdown()
        thread.join()
        server.server_close()
