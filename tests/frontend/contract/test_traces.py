"""Traces of a real gateway in front of the real Triton, as a collector gets them."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from openai import OpenAI
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.frontend.contract.test_audit import Office, _with_admin
from tests.frontend.contract.test_batches import line, run
from tests.support.collector import Collector, attributes, collecting
from tests.support.databases import Databases
from tests.support.echo import EchoTriton, running_echo
from tests.support.gateway import Gateway, run_gateway
from tests.support.metrics import value_of
from tests.support.processes import wait_for

CHAT = "/v1/chat/completions"


@dataclass
class Traced:
    """A gateway whose spans are collected."""

    office: Office
    collector: Collector

    def chat(self, user: str, content: str, flags: str = "01", **more: object) -> str:
        """Sends a request within a trace of its own; returns the trace's id."""
        trace, messages = uuid4().hex, [{"role": "user", "content": content}]
        headers = {
            "authorization": f"Bearer {self.office.keys[user]}",
            "traceparent": f"00-{trace}-b7ad6b7169203331-{flags}",
            "tracestate": "vendor=1",
        }
        body = {"model": "echo", "messages": messages, **more}
        httpx2.post(self.office.gateway.url + CHAT, json=body, headers=headers, timeout=30)
        return trace


@pytest.fixture(scope="module")
def traced(
    echo_triton: EchoTriton, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Traced]:
    location = databases.sqlite()
    admin = asyncio.run(_with_admin(location))
    folder = tmp_path_factory.mktemp("traces")
    headers = folder / "headers"
    headers.write_text("x-token: collector-token\n")
    with collecting() as collector:
        flags = ["--require-keys", "--database-url", f"sqlite:///{location.file}"]
        flags += ["--log-file", str(folder / "log.jsonl"), "--traces-text"]
        flags += ["--traces-url", collector.url, "--traces-headers-file", str(headers)]
        with run_gateway(echo_triton.grpc_address, folder / "log", *flags) as gateway:
            office = Office(gateway, location, admin)
            office.join("traced-plain")
            office.join("traced-whole", audit="full")
            yield Traced(office, collector)


def test_the_spans_of_a_stream(traced: Traced) -> None:
    trace = traced.chat("traced-plain", "x", stream=True, max_tokens=50, temperature=0.5)
    spans = traced.collector.whole(trace)
    assert spans.keys() == {"POST", "queue", "chat"}
    server, queue, call = spans["POST"], spans["queue"], spans["chat"]
    assert server.name == f"POST {CHAT}"
    assert server.parent_span_id.hex() == "b7ad6b7169203331"
    assert queue.parent_span_id == call.parent_span_id == server.span_id
    kinds = (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_INTERNAL, Span.SPAN_KIND_CLIENT)
    assert (server.kind, queue.kind, call.kind) == kinds
    assert server.start_time_unix_nano <= queue.start_time_unix_nano
    assert queue.end_time_unix_nano <= call.start_time_unix_nano
    assert call.end_time_unix_nano <= server.end_time_unix_nano
    (first,) = call.events
    assert first.name == "first_token"
    assert call.start_time_unix_nano <= first.time_unix_nano <= call.end_time_unix_nano
    shown, said = attributes(call), attributes(server)
    assert shown["gen_ai.operation.name"] == "chat"
    assert shown["gen_ai.provider.name"] == "triton"
    assert shown["gen_ai.request.model"] == shown["gen_ai.response.model"] == "echo"
    assert shown["gen_ai.request.max_tokens"] == 50
    assert shown["gen_ai.request.temperature"] == 0.5
    assert shown["gen_ai.usage.output_tokens"] > 0
    assert shown["gen_ai.usage.input_tokens"] > 0
    assert shown["gen_ai.response.finish_reasons"] == ["stop"]
    assert said["http.response.status_code"] == 200
    assert said["http.route"] == CHAT
    assert said["user.id"] == traced.office.users["traced-plain"]
    assert {one.trace_state for one in spans.values()} == {"vendor=1"}
    assert traced.collector.heads[0]["x-token"] == "collector-token"


def test_log_lines_carry_the_id_of_the_trace(traced: Traced) -> None:
    failing = json.dumps({"text": "x", "fail_after": 0})
    trace = traced.chat("traced-plain", failing)
    log = traced.office.gateway.log.parent / "log.jsonl"

    def lines() -> list[dict[str, object]]:
        return [one for one in map(json.loads, log.read_text().splitlines()) if _has(one, trace)]

    wait_for(lambda: any(one["message"] == "request" for one in lines()), what="the request's line")
    # that of the failure, which Triton's client writes, and that of the request
    assert {one["logger"] for one in lines()} >= {
        "frontend.access",
        "frontend.upstreams.triton.failures",
    }
    spans = traced.collector.whole(trace)
    assert attributes(spans["chat"])["error.type"] == "backend_error"
    assert spans["chat"].status.code == spans["POST"].status.code == 2
    assert "collector-token" not in log.read_text()


def _has(line: dict[str, object], trace: str) -> bool:
    return line.get("trace_id") == trace


def test_a_refusal_has_a_span_and_is_no_failure(traced: Traced) -> None:
    trace = traced.chat("traced-plain", "x", n=-1)
    (server,) = traced.collector.whole(trace).values()
    assert attributes(server)["http.response.status_code"] == 400
    assert "error.type" in attributes(server)
    assert server.status.code == 0


def test_each_line_of_a_batch_has_a_trace_that_names_the_batch(traced: Traced) -> None:
    client = OpenAI(
        base_url=traced.office.gateway.url + "/v1", api_key=traced.office.keys["traced-plain"]
    )
    lines = [line(number) for number in range(2)]
    made = run(client, lines)
    client.close()

    def servers() -> list[Span]:
        spans = traced.collector.spans
        return [one for one in spans if attributes(one).get("gateway.batch.id") == made.id]

    wait_for(lambda: len(servers()) == 2, what="the spans of both lines")
    assert len({one.trace_id for one in servers()}) == 2
    for one in servers():
        assert one.name == f"POST {CHAT}"
        assert {span.name.split()[0] for span in traced.collector.trace(one.trace_id.hex())} == {
            "POST", "queue", "chat",
        }  # fmt: skip


def test_a_client_that_records_nothing_has_no_spans(traced: Traced) -> None:
    hidden = traced.chat("traced-plain", "x", flags="00")
    shown = traced.chat("traced-plain", "x")
    traced.collector.whole(shown)
    assert traced.collector.trace(hidden) == []


def test_only_a_policy_of_full_has_text_in_its_spans(traced: Traced) -> None:
    plain = traced.chat("traced-plain", "canary-of-plain")
    whole = traced.chat("traced-whole", "canary-of-whole", stream=True)
    kept = attributes(traced.collector.whole(whole)["chat"])
    assert "canary-of-whole" in kept["gen_ai.input.messages"]
    assert json.loads(kept["gen_ai.output.messages"])[0]["parts"][0]["content"]
    traced.collector.whole(plain)
    assert b"canary-of-plain" not in b"".join(traced.collector.bodies)


def test_tritons_own_spans_are_in_the_trace_of_the_request(
    echo_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("joined")
    with collecting() as collector:
        url = f"{collector.url}/v1/traces"
        flags = ("--traces-url", collector.url)
        with (
            running_echo(echo_repository, folder / "triton.log", url) as triton,
            run_gateway(triton.grpc_address, folder / "log", *flags) as gateway,
        ):
            spans = _spans_of_a_request(gateway, collector)
        # below the gateway's span of the call
        assert spans["InferRequest"].parent_span_id == spans["chat echo"].span_id
        assert spans["echo"].parent_span_id == spans["InferRequest"].span_id
        assert spans["echo.engine"].parent_span_id == spans["echo"].span_id


def _spans_of_a_request(gateway: Gateway, collector: Collector) -> dict[str, Span]:
    """By name. Triton sends its spans every 5 s, and does not send again what failed."""
    body = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
    spans: dict[str, Span] = {}
    for _ in range(3):
        trace = uuid4().hex
        headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        answer = httpx2.post(gateway.url + CHAT, json=body, headers=headers, timeout=60)
        assert answer.status_code == 200
        deadline_s = time.monotonic() + 20
        while time.monotonic() < deadline_s:
            spans = {one.name: one for one in collector.trace(trace)}
            if {"chat echo", "InferRequest", "echo", "echo.engine"} <= {*spans}:
                return spans
            time.sleep(0.1)
    raise AssertionError(f"only {[*spans]} in {collector.attempts} calls of the collector")


def test_spans_are_counted(traced: Traced) -> None:
    traced.collector.whole(traced.chat("traced-plain", "x"))
    text = traced.office.ask("GET", "/metrics").text
    sent = value_of(text, "gateway_trace_spans_sent_total")
    assert sent >= 3
    assert value_of(text, "gateway_trace_spans_lost_total") == 0


def test_a_stop_is_not_held_by_a_collector_that_stalls(
    echo_triton: EchoTriton, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = tmp_path_factory.mktemp("stalled") / "log"
    flags = ("--traces-timeout-s", "300", "--traces-url")
    with (
        collecting("stall") as collector,
        run_gateway(echo_triton.grpc_address, log, *flags, collector.url) as gateway,
    ):
        body = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
        answer = httpx2.post(gateway.url + CHAT, json=body, timeout=30)
        assert answer.status_code == 200
        wait_for(lambda: collector.attempts > 0, what="a batch that stalls")
        gateway.process.terminate()
        # much longer than a stop takes, and much shorter than the collector may
        assert gateway.process.wait(60) == 0
    assert "spans were lost" in log.read_text()
