"""Upstreams that are slow, large, broken or gone cost a bounded time, and are marked."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from frontend.telemetry import scrape
from frontend.telemetry.metrics import Metrics
from frontend.telemetry.scrape import Scraper
from tests.support.metrics import value_of
from tests.support.processes import free_port
from tests.support.web import listening


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    status, body, hangs = 200, b"nv_a 1\n", False


class _Pages(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.send_response(self.server.status)
        self.send_header("location", "/elsewhere")
        # a server that hangs promises more than it sends
        self.send_header("content-length", str(len(self.server.body) + self.server.hangs))
        self.end_headers()
        self.wfile.write(self.server.body)
        if self.server.hangs:
            self.connection.recv(1)  # until the gateway gives up

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def serving() -> Iterator[_Server]:
    server = _Server(("127.0.0.1", 0), _Pages)
    with listening(server):
        yield server


def url_of(server: _Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/metrics?a=b"


async def scraped(scraper: Scraper) -> str:
    with ThreadPoolExecutor(4) as threads:
        await scraper.scrape(threads)
    metrics = Metrics(scraper)
    metrics.refresh()
    return metrics.render().decode()


async def test_what_an_upstream_says_is_exported_with_its_name() -> None:
    with serving() as server:
        text = await scraped(Scraper({"a": url_of(server)}, 1))
    assert value_of(text, "nv_a", upstream="a") == 1
    assert value_of(text, "gateway_upstream_metrics_stale", upstream="a") == 0


@pytest.mark.parametrize(
    "fault", ["hangs", "large", "status", "redirect", "binary", "silent", "gone"]
)
async def test_a_fault_marks_the_metrics_as_stale_and_keeps_them_a_while(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrape, "MAX_BYTES", 1000)
    with serving() as server, serving() as healthy, socket.create_server(("127.0.0.1", 0)) as mute:
        scraper = Scraper({"a": url_of(server), "b": url_of(healthy)}, 1, timeout_s=0.2)
        await scraped(scraper)
        server.body = b"nv_a 2\n"
        if fault == "hangs":
            server.hangs = True
        elif fault == "large":
            server.body = b"nv_a 2\n" * 1000
        elif fault in ("status", "redirect"):
            server.status = 500 if fault == "status" else 302
        elif fault == "binary":
            server.body = b"\xff\xfe"
        else:
            port = free_port() if fault == "gone" else mute.getsockname()[1]
            scraper.sources["a"].url = f"http://127.0.0.1:{port}/metrics"
        text = await scraped(scraper)
        assert value_of(text, "nv_a", upstream="a") == 1
        assert value_of(text, "gateway_upstream_metrics_stale", upstream="a") == 1
        assert value_of(text, "gateway_upstream_metrics_stale", upstream="b") == 0
        monkeypatch.setattr(scrape, "_KEPT_S", 0.0)
        text = await scraped(scraper)
        assert value_of(text, "nv_a") == value_of(text, "nv_a", upstream="b") == 1
