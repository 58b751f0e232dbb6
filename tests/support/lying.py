"""Servers that speak the dialects of engines, and say and send whatever a test wants.

vLLM's dialect of OpenAI's API, with its figures of load; Ollama's; Anthropic's.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.web import listening

IDLE = "vllm:num_requests_running 0\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0\n"
COUNTS = {"negative": (-5, -7), "zero": (0, 0), "huge": (10**18, 10**18)}
"""What it counts for prompts and answers, in ways that cannot be true."""
FAULTS = (
    *("none", "negative", "cut", "zero", "garbage", "huge", "type", "none"),
    *("late garbage", "endless", "late cut", "none"),
)
"""In an order that opens breakers never: between failures are answers."""
MODEL = {"id": "echo", "kind": "llm", "capabilities": ["chat", "completion"], "max_model_len": 4096}
_PIECES = 200
"""Of an answer that does not end where it should."""


@dataclass
class Liar:
    """`fails`: answers with status 500; `delay_s`: until the first byte. `faults`: of its answers,
    in turns; `sent`: how often each was sent. `lists`: its list of models. `asked`: what it
    got."""

    metrics: str = IDLE
    fails: bool = False
    delay_s: float = 0.0
    answers: int = 0
    asked: list[str] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=lambda: [MODEL])
    port: int = 0
    lists: str | None = None
    faults: tuple[str, ...] = ("none",)
    sent: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def next(self) -> str:
        """The fault of the next answer."""
        with self.lock:
            fault = self.faults[self.answers % len(self.faults)]
            self.answers += 1
            self.sent[fault] += 1
            return fault


@contextmanager
def lying_server(dialect: str = "openai") -> Iterator[Liar]:
    """Serves the model `echo` until the block ends; each answer is `whole`."""
    liar = Liar()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            said = liar.metrics if path == "/metrics" else _LISTS.get((dialect, path))
            if (dialect, path) == ("openai", "/v1/models"):
                said = json.dumps({"data": liar.models})
            said = liar.lists if said and liar.lists and path != "/metrics" else said
            self._send(200 if said else 404, said or "{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            liar.asked.append(f"{self.path} {body.decode()}")
            if self.path == "/api/show":
                self._send(200, json.dumps(_SHOWN))
                return
            if liar.fails:
                self._send(500, '{"error": {"message": "broken"}}')
                return
            time.sleep(liar.delay_s)
            fault = liar.next()
            text = _answer(dialect, fault)
            is_cut = fault.endswith("cut")
            self._send(200, text, more=100 * is_cut)
            self.close_connection = is_cut

        def _send(self, status: int, text: str, more: int = 0) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(text.encode()) + more))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    liar.port = server.server_address[1]
    with listening(server):
        yield liar


def _answer(dialect: str, fault: str) -> str:
    if fault == "odd call":
        return odd_call()
    pieces: list[Any] = ["token "] * _PIECES if fault == "endless" else ["whole"]
    if fault == "type":
        pieces = [5]
    prompt, said = COUNTS.get(fault, (5, len(pieces)))
    lines = _DIALECTS[dialect](pieces, prompt, said)
    first = next(number for number, line in enumerate(lines) if str(pieces[0]) in line)
    garbage = lines[first].partition("{")[0] + '{"broken\n\n'
    if fault == "cut":
        lines = []
    elif fault == "late cut":
        lines = lines[: first + 1]
    elif fault == "garbage":
        lines.insert(first, garbage)
    elif fault == "late garbage":
        lines.insert(first + 1, garbage)
    return "".join(lines)


def odd_call() -> str:
    """A tool call of OpenAI's API whose arguments are not an object."""
    function = {"name": "weather", "arguments": '["Ulm"]'}
    call = {"index": 0, "id": "call_1", "type": "function", "function": function}
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 1}},
    ]
    return "".join(f"data: {json.dumps(one)}\n\n" for one in chunks) + "data: [DONE]\n\n"


def _openai(pieces: list[Any], prompt: int, said: int) -> list[str]:
    usage = {"prompt_tokens": prompt, "completion_tokens": said}
    chunks: list[dict[str, Any]] = [
        *({"choices": [{"index": 0, "delta": {"content": one}}]} for one in pieces),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": usage},
    ]
    return [*(f"data: {json.dumps(one)}\n\n" for one in chunks), "data: [DONE]\n\n"]


def _ollama(pieces: list[Any], prompt: int, said: int) -> list[str]:
    lines: list[dict[str, Any]] = [
        *({"message": {"role": "assistant", "content": one}, "done": False} for one in pieces),
        {"done": True, "done_reason": "stop", "prompt_eval_count": prompt, "eval_count": said},
    ]
    return [json.dumps(one) + "\n" for one in lines]


def _anthropic(pieces: list[Any], prompt: int, said: int) -> list[str]:
    usage = {"input_tokens": prompt, "output_tokens": 1}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
        *(
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": one}}
            for one in pieces
        ),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": said},
        },
    ]
    return [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events]


_DIALECTS: dict[str, Callable[[list[Any], int, int], list[str]]] = {
    "openai": _openai,
    "ollama": _ollama,
    "anthropic": _anthropic,
}
_SHOWN = {"capabilities": ["completion"], "model_info": {"echo.context_length": 4096}}
_LISTS = {
    ("ollama", "/api/tags"): json.dumps({"models": [{"name": "echo:latest", "digest": "d"}]}),
    ("anthropic", "/v1/models"): json.dumps({"data": [{"id": "echo", "max_input_tokens": 4096}]}),
}
