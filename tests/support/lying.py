"""A server that speaks OpenAI's dialect as vLLM does, and says about its load whatever it likes."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

IDLE = "vllm:num_requests_running 0\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0\n"
MODEL = {"id": "echo", "kind": "llm", "capabilities": ["chat", "completion"], "max_model_len": 4096}


@dataclass
class Liar:
    """`fails`: answers with status 500; `delay_s`: until the first byte. `asked`: what it got."""

    metrics: str = IDLE
    fails: bool = False
    delay_s: float = 0.0
    answers: int = 0
    asked: list[str] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=lambda: [MODEL])
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def lying_server() -> Iterator[Liar]:
    """Serves the model `echo` until the block ends; each answer is `whole`."""
    liar = Liar()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/v1/models":
                self._send(200, json.dumps({"data": liar.models}))
            elif self.path == "/metrics":
                self._send(200, liar.metrics)
            else:
                self._send(404, "{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            liar.asked.append(f"{self.path} {body.decode()}")
            if liar.fails:
                self._send(500, '{"error": {"message": "broken"}}')
                return
            time.sleep(liar.delay_s)
            with liar.lock:
                liar.answers += 1
            usage = {"prompt_tokens": 5, "completion_tokens": 1}
            chunks: list[dict[str, Any]] = [
                {"choices": [{"index": 0, "delta": {"content": "whole"}}]},
                {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
                {"choices": [], "usage": usage},
            ]
            lines = [f"data: {json.dumps(one)}\n\n" for one in chunks]
            self._send(200, "".join(lines) + "data: [DONE]\n\n")

        def _send(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    liar.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield liar
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
