"""A client that disconnects stops its own request in the engine within 100 ms, and no other."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import httpx2
from openai import OpenAI

from tests.frontend.contract.conftest import posted
from tests.support.echo import EchoTriton, echo_requests, script
from tests.support.gateway import Gateway, run_gateway
from tests.support.processes import soon, wait_for

FAST_S = 0.1
FOREVER_MS = 10**9


def ended(triton: EchoTriton, mark: str) -> dict[str, Any]:
    """The engine's record of the request that has `mark` in its prompt, once it has ended."""
    found: list[dict[str, Any]] = []

    def over() -> bool:
        found[:] = [r for r in echo_requests(triton) if mark in json.dumps(r["prompt"])]
        return bool(found) and all(one["ended_s"] is not None for one in found)

    wait_for(over, what=f"the end of {mark}")
    return found[-1]


def running(triton: EchoTriton, mark: str) -> bool:
    return any(mark in json.dumps(one["prompt"]) for one in echo_requests(triton))


def test_leaving_a_stream_stops_the_engine(client: OpenAI, echo_triton: EchoTriton) -> None:
    def leave(number: int) -> float:
        mark = f"leaving-1-{number}"
        messages = script(text=f"{mark} " * 4, delay_ms=20, never_finish=True)
        stream = client.chat.completions.create(model="echo", messages=messages, stream=True)
        for seen, _ in enumerate(stream):
            if seen == 3:
                break
        left_s = time.monotonic()
        stream.close()
        record = ended(echo_triton, mark)
        assert record["outcome"] == "abort"
        return float(record["ended_s"] - left_s)

    soon(leave, FAST_S)


def test_leaving_before_the_first_token_stops_the_engine(
    gateway: Gateway, echo_triton: EchoTriton
) -> None:
    _leave_when_it_runs(gateway, echo_triton, "leaving-2", stream=True, first_delay_ms=FOREVER_MS)


def test_leaving_a_unary_request_stops_the_engine(
    gateway: Gateway, echo_triton: EchoTriton
) -> None:
    _leave_when_it_runs(gateway, echo_triton, "leaving-3", stream=False, never_finish=True)


def _leave_when_it_runs(
    gateway: Gateway, triton: EchoTriton, name: str, *, stream: bool, **fields: Any
) -> None:
    def leave(number: int) -> float:
        mark = f"{name}-{number}"
        body = {"model": "echo", "messages": script(text=mark, **fields), "stream": stream}
        with posted(gateway, body):
            wait_for(lambda: running(triton, mark), what=f"the start of {mark}")
            left_s = time.monotonic()
        record = ended(triton, mark)
        assert record["outcome"] == "abort"
        return float(record["ended_s"] - left_s)

    soon(leave, FAST_S)


def test_leaving_stops_every_prompt_of_a_request(client: OpenAI, echo_triton: EchoTriton) -> None:
    def leave(number: int) -> float:
        marks = [f"leaving-many-{number}-{prompt}" for prompt in range(4)]
        prompts = [json.dumps({"text": mark, "never_finish": True}) for mark in marks]
        stream = client.completions.create(model="echo", prompt=prompts, stream=True, max_tokens=99)
        for mark in marks:
            wait_for(lambda mark=mark: running(echo_triton, mark), what=f"the start of {mark}")  # type: ignore[misc]
        left_s = time.monotonic()
        stream.close()
        records = [ended(echo_triton, mark) for mark in marks]
        assert {one["outcome"] for one in records} == {"abort"}
        return float(max(one["ended_s"] for one in records) - left_s)

    soon(leave, FAST_S * 2)


def test_leaving_touches_nobody_else(raw: httpx2.Client, echo_triton: EchoTriton) -> None:
    """Even of clients who call their requests the same."""
    headers, path = {"x-request-id": "twins"}, "/v1/chat/completions"

    def body(mark: str, **more: Any) -> dict[str, Any]:
        messages = script(text=f"{mark} " * 40, delay_ms=20, **more)
        return {"model": "echo", "messages": messages, "stream": True}

    with (
        raw.stream("POST", path, json=body("staying"), headers=headers) as staying,
        httpx2.Client(base_url=raw.base_url) as other,
    ):
        with other.stream(
            "POST", path, json=body("going", never_finish=True), headers=headers
        ) as going:
            next(going.iter_bytes())
        assert ended(echo_triton, "going")["outcome"] == "abort"
        text = staying.read().decode()
    assert text.count("staying") == 40
    assert text.endswith("data: [DONE]\n\n")


def test_the_deadline_ends_a_request_with_a_status(echo_triton: EchoTriton, tmp_path: Path) -> None:
    flags = ("--request-timeout-s", "0.4")
    with (
        run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway,
        httpx2.Client(base_url=gateway.url) as http,
    ):
        messages = script(text="deadline-1 x", first_delay_ms=FOREVER_MS)
        answer = http.post("/v1/chat/completions", json={"model": "echo", "messages": messages})
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "timeout"
        assert ended(echo_triton, "deadline-1")["outcome"] == "abort"
        late = script(text="deadline-2 " * 9, delay_ms=50, never_finish=True)
        body = {"model": "echo", "messages": late, "stream": True}
        said = http.post("/v1/chat/completions", json=body).text
        assert '"code":"timeout"' in said
        assert "[DONE]" not in said
        assert ended(echo_triton, "deadline-2")["outcome"] == "abort"


def test_a_client_that_stops_reading_is_let_go(echo_triton: EchoTriton, tmp_path: Path) -> None:
    flags = ("--client-timeout-s", "0.5")
    with run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway:
        messages = [{"role": "system", "content": "stalled"}, *script(chunks=100_000)]
        body = {"model": "echo", "messages": messages, "stream": True}
        body |= {"logprobs": True, "top_logprobs": 20}  # some 2 kB per token
        with posted(gateway, body):
            wait_for(lambda: running(echo_triton, "stalled"), what="the start")
            record = ended(echo_triton, "stalled")
        assert record["outcome"] == "abort"
        assert record["chunks_sent"] < 100_000
        wait_for(lambda: "client_stalled" in gateway.log.read_text(), what="the log line")


def test_a_body_that_does_not_come_is_not_waited_for(
    echo_triton: EchoTriton, tmp_path: Path
) -> None:
    flags = ("--client-timeout-s", "0.3")
    with (
        run_gateway(echo_triton.grpc_address, tmp_path / "log", *flags) as gateway,
        socket.create_connection(("127.0.0.1", gateway.port)) as slow,
    ):
        slow.sendall(b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\n")
        slow.sendall(b"content-length: 99\r\n\r\n{")
        assert b" 408 " in slow.recv(1000)
