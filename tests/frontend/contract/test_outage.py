"""Triton may go and come back under the gateway; the gateway itself ends in order."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from openai import InternalServerError, OpenAI

from tests.conftest import EchoTriton
from tests.frontend.conftest import Gateway, echo_requests, run_gateway, script
from tests.processes import free_port, status_of, wait_for

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def triton(echo_repository: Path, tmp_path: Path) -> Iterator[EchoTriton]:
    """A server of this test's own, to be killed."""
    server = EchoTriton(echo_repository, tmp_path / "triton.log")
    server.start()
    yield server
    server.stop()


def test_triton_killed_is_a_503_and_recovery_needs_no_restart(
    triton: EchoTriton, tmp_path: Path
) -> None:
    with (
        run_gateway(triton.grpc_address, tmp_path / "log") as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as client,
    ):
        stream = client.chat.completions.create(
            model="echo", messages=script(text="a " * 500, delay_ms=20), stream=True
        )
        next(stream)
        triton.kill()
        with pytest.raises(Exception, match="not available") as broken:
            list(stream)
        assert getattr(broken.value, "code", None) == "backend_unavailable"
        with pytest.raises(InternalServerError) as refusal:
            client.chat.completions.create(model="echo", messages=script(text="a"))
        assert refusal.value.status_code == 503
        assert refusal.value.response.headers["retry-after"]
        wait_for(lambda: status_of(f"{gateway.url}/readyz") == 503, 10, "a 503")
        assert status_of(f"{gateway.url}/v1/models") == 503
        assert status_of(f"{gateway.url}/healthz") == 200
        triton.start()
        wait_for(lambda: status_of(f"{gateway.url}/readyz") == 200, 10, "recovery")
        wait_for(lambda: status_of(f"{gateway.url}/v1/models/echo") == 200, 10, "this model's")
        answer = client.chat.completions.create(model="echo", messages=script(text="back"))
        assert answer.choices[0].message.content == "back"


def test_triton_may_start_after_the_gateway(tmp_path: Path, echo_triton: EchoTriton) -> None:
    """No Triton at all is a clear state, not a reason to die."""
    nowhere = f"127.0.0.1:{free_port()}"
    with run_gateway(nowhere, tmp_path / "log", wait_ready=False) as gateway:
        assert status_of(f"{gateway.url}/readyz") == 503
        body = {"model": "echo", "messages": script(text="a")}
        answer = httpx2.post(f"{gateway.url}/v1/chat/completions", json=body)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "backend_unavailable"


class Reader(threading.Thread):
    """Reads one stream to its end."""

    def __init__(self, gateway: Gateway, text: str) -> None:
        super().__init__()
        self._url = f"{gateway.url}/v1/chat/completions"
        self._body = {"model": "echo", "messages": script(text=text, delay_ms=20), "stream": True}
        self.said = ""

    def run(self) -> None:
        with httpx2.stream("POST", self._url, json=self._body) as answer:
            for piece in answer.iter_text():
                self.said += piece


def test_a_drain_lets_streams_finish_and_refuses_new_work(
    echo_triton: EchoTriton, tmp_path: Path
) -> None:
    with run_gateway(echo_triton.grpc_address, tmp_path / "log") as gateway:
        reader = Reader(gateway, "drain " * 60)
        reader.start()
        wait_for(lambda: "drain" in reader.said, 10, "the first token")
        os.kill(gateway.process.pid, signal.SIGTERM)
        wait_for(lambda: status_of(f"{gateway.url}/readyz") == 503, 2, "a 503")
        body = {"model": "echo", "messages": script(text="new")}
        answer = httpx2.post(f"{gateway.url}/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "draining")
        assert answer.headers["retry-after"]
        reader.join(20)
        assert reader.said.count("drain") == 60
        assert reader.said.endswith("data: [DONE]\n\n")
        assert gateway.process.wait(10) == 0


def test_a_stream_that_outlasts_the_drain_is_told_so(
    echo_triton: EchoTriton, tmp_path: Path
) -> None:
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", "--drain-s", "0.3") as gateway:
        reader = Reader(gateway, "outlast " * 2000)
        reader.start()
        wait_for(lambda: "outlast" in reader.said, 10, "the first token")
        os.kill(gateway.process.pid, signal.SIGTERM)
        assert gateway.process.wait(10) == 0
        reader.join(10)
        *_, last, end = reader.said.split("\n\n")
        assert end == ""
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "draining"

    def stopped() -> bool:
        (record,) = [r for r in echo_requests(echo_triton) if "outlast" in json.dumps(r["prompt"])]
        return record["outcome"] == "abort"

    wait_for(stopped, 2, "the engine's end")


def test_an_idle_gateway_ends_at_once(echo_triton: EchoTriton, tmp_path: Path) -> None:
    with run_gateway(echo_triton.grpc_address, tmp_path / "log") as gateway:
        asked_s = time.monotonic()
        gateway.process.terminate()
        assert gateway.process.wait(10) == 0
        assert time.monotonic() - asked_s < 3


def test_the_queue_is_bounded(echo_triton: EchoTriton, tmp_path: Path) -> None:
    flags = ("--max-running", "1", "--max-waiting", "0")
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway:
        reader = Reader(gateway, "queue " * 50)
        reader.start()
        wait_for(lambda: "queue" in reader.said, 10, "the first token")
        body = {"model": "echo", "messages": script(text="one too many")}
        answer = httpx2.post(f"{gateway.url}/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert answer.headers["retry-after"]
        reader.join(20)
        assert httpx2.post(f"{gateway.url}/v1/chat/completions", json=body).status_code == 200
