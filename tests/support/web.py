"""A loopback web server for downloads: it can break off, hold still, ignore ranges and redirect."""

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer


@dataclass
class Web:
    """What is served by path, and how badly. `cuts` are bytes after which the next answers end."""

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    hold_after: int | None = None
    hold_path: str = ""
    requests: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    holding: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self, path: str) -> list[str | None]:
        """The Range header of every request for that path."""
        return [headers.get("Range") for asked, headers in self.requests if asked == path]


@contextlib.contextmanager
def listening(server: HTTPServer) -> Iterator[None]:
    """Answers in a thread until the block ends."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def web_server() -> Iterator[Web]:
    """Serves until the block ends; no request outlives it."""
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            web.requests.append((self.path, dict(self.headers.items())))
            path = self.path.partition("?")[0]
            if web.statuses.get(path):
                self._plain(web.statuses[path].pop(0))
            elif path in web.redirects:
                self._plain(302, Location=web.redirects[path])
            elif path not in web.files:
                self._plain(404)
            else:
                self._file(path)

        def _plain(self, status: int, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def _file(self, path: str) -> None:
            content, start = web.files[path], 0
            match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
            if match and web.ranges:
                start = int(match[1])
                if start >= len(content):
                    self._plain(416)
                    return
            self.send_response(206 if match and web.ranges else 200)
            if match and web.ranges:
                whole = len(content)
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("Content-Type", web.types.get(path, "application/octet-stream"))
            for name, value in web.headers.get(path, {}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self._send(content[start:])

        def _send(self, content: bytes) -> None:
            cut = web.cuts.pop(0) if web.cuts else None
            if web.hold_after is not None and web.hold_path in self.path:
                self.wfile.write(content[: web.hold_after])
                self.wfile.flush()
                web.holding.set()
                web.go_on.wait(60)
                content = content[web.hold_after :]
            with contextlib.suppress(OSError):
                self.wfile.write(content if cut is None else content[:cut])
                self.wfile.flush()
            if cut is not None:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web.port = server.server_address[1]
    with listening(server):
        try:
            yield web
        finally:
            web.go_on.set()
