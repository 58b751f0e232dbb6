"""SIGTERM: what runs may finish, what is new is refused, and then the process ends with 0."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.frontend.contract.conftest import Reader
from tests.support.echo import EchoTriton, echo_requests, script
from tests.support.gateway import run_gateway
from tests.support.processes import PATIENCE_S, ROOT, free_port, status_of, wait_for


def test_a_drain_lets_streams_finish_and_refuses_new_work(
    echo_triton: EchoTriton, tmp_path: Path
) -> None:
    with run_gateway(echo_triton.grpc_address, tmp_path / "log") as gateway:
        reader = Reader(gateway, "drain " * 60, delay_ms=150)
        reader.start()
        wait_for(lambda: "drain" in reader.said, what="the first token")
        os.kill(gateway.process.pid, signal.SIGTERM)
        wait_for(lambda: status_of(f"{gateway.url}/readyz") == 503, what="a 503")
        body = {"model": "echo", "messages": script(text="new")}
        answer = httpx2.post(f"{gateway.url}/v1/chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "draining")
        assert answer.headers["retry-after"]
        reader.join()
        assert reader.said.count("drain") == 60
        assert reader.said.endswith("data: [DONE]\n\n")
        assert gateway.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize(
    ("number", "drain_s", "word"),
    # a person who presses Ctrl-C does not wait for the drain
    [(signal.SIGTERM, "0.3", "outlast"), (signal.SIGINT, "600", "interrupt")],
)
def test_a_stream_that_outlasts_the_drain_is_told_so(
    number: int, drain_s: str, word: str, echo_triton: EchoTriton, tmp_path: Path
) -> None:
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", "--drain-s", drain_s) as gateway:
        reader = Reader(gateway, f"{word} ", never_finish=True)
        reader.start()
        wait_for(lambda: word in reader.said, what="the first token")
        os.kill(gateway.process.pid, number)
        assert gateway.process.wait(PATIENCE_S) == 0
        reader.join()
        *_, last, end = reader.said.split("\n\n")
        assert end == ""
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "draining"

    def stopped() -> bool:
        (record,) = [r for r in echo_requests(echo_triton) if word in json.dumps(r["prompt"])]
        return bool(record["outcome"] == "abort")

    wait_for(stopped, what="the engine's end")


def test_an_idle_gateway_ends_at_once(echo_triton: EchoTriton, tmp_path: Path) -> None:
    flags = ("--drain-s", "600")
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway:
        gateway.process.terminate()
        assert gateway.process.wait(PATIENCE_S) == 0, "it waited for the end of its drain"


def test_a_second_signal_ends_at_once(echo_triton: EchoTriton, tmp_path: Path) -> None:
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", "--drain-s", "600") as gateway:
        reader = Reader(gateway, "twice ", never_finish=True)
        reader.start()
        wait_for(lambda: "twice" in reader.said, what="the first token")
        os.kill(gateway.process.pid, signal.SIGTERM)
        wait_for(lambda: status_of(f"{gateway.url}/readyz") == 503, what="a 503")
        os.kill(gateway.process.pid, signal.SIGTERM)
        gateway.process.wait(PATIENCE_S)
        reader.join()
        assert reader.cut


BLOCKING = """
import itertools
from frontend.routes.health import HealthRoutes

def block(*_):
    print("blocks now", flush=True)
    sum(itertools.repeat(0))  # in C, forever: neither threads nor signal handlers run

HealthRoutes.ready = block
from frontend.__main__ import main
main()
"""


def test_a_gateway_that_is_blocked_ends_all_the_same(tmp_path: Path) -> None:
    port = free_port()
    flags = ["--port", str(port), "--triton", "unix:/nowhere", "--drain-s", "0"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", BLOCKING, *flags], stdout=log, stderr=log, cwd=ROOT
        )
    try:
        wait_for(lambda: status_of(f"http://127.0.0.1:{port}/healthz") == 200, what="the start")
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            wait_for(lambda: "blocks now" in (tmp_path / "log").read_text(), what="the block")
            process.terminate()
            assert process.wait(PATIENCE_S) != 0
    finally:
        process.kill()
        process.wait()
