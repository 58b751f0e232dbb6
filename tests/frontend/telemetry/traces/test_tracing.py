"""Traces without a gateway: contexts of clients, sampling, and collectors that are away."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr, ValidationError

from frontend.domain.generation import Conversation, Generation
from frontend.domain.messages import Image, Message, Text, ToolCall
from frontend.domain.request import Outcome
from frontend.domain.usage import Usage
from frontend.errors import BackendFailed
from frontend.settings.traces import TraceSettings
from frontend.telemetry.traces.content import MAX_TEXT, input_messages
from frontend.telemetry.traces.tracing import Collector, Recording, Tracing
from tests.support.collector import attributes, collecting
from tests.support.events import event
from tests.support.processes import wait_for
from tests.support.upstream import outcome

ROOT = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{ROOT}-b7ad6b7169203331-01"
TALK = Generation(Conversation((Message("user", "words of a prompt"),)))


@dataclass
class Counts:
    sent: int = 0
    lost: int = 0
    ids: dict[str, str] = field(default_factory=dict)

    def tracing(self, url: str, waiting: int = 512, **recording: object) -> Tracing:
        counts = (self._sent, self._lost)
        collector = Collector(f"{url}/v1/traces", {"x-key": "token-canary"}, 0.5)
        made = Recording(**recording)  # type: ignore[arg-type]
        return Tracing(collector, made, waiting, counts, self.ids)

    def _sent(self, count: int) -> None:
        self.sent += count

    def _lost(self, count: int) -> None:
        self.lost += count


@pytest.fixture
def counts() -> Iterator[Counts]:
    return Counts()


def asked(tracing: Tracing, *headers: tuple[str, str]) -> Outcome:
    """A request whose trace has begun."""
    made = outcome()
    given = [(name.encode(), value.encode()) for name, value in headers]
    made.trace = tracing.begin(made, given)
    return made


def sent_on(made: Outcome, *, external: bool = False) -> dict[str, str]:
    """What an upstream would get."""
    with made.trace.step("m", "chat", TALK, keeps_text=False) as step:
        step.begin("b", "vllm", external=external)
        return dict(step.headers)


def test_a_request_continues_the_trace_of_its_client(counts: Counts) -> None:
    tracing = counts.tracing("http://127.0.0.1:9")
    made = asked(tracing, ("traceparent", PARENT), ("tracestate", "a=1,b=2"))
    assert made.trace.id == ROOT
    assert counts.ids == {made.id: ROOT}
    headers = sent_on(made)
    version, trace, parent, flags = headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", ROOT, "01")
    assert parent != "b7ad6b7169203331"
    assert headers["tracestate"] == "a=1,b=2"
    assert sent_on(made, external=True) == {}
    tracing.end(made)
    assert counts.ids == {}


@pytest.mark.parametrize(
    "given",
    [
        "", "00", "x" * 300, PARENT.upper(), PARENT + "-more", PARENT.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{ROOT}-{'0' * 16}-01",
        PARENT.replace("b7", "zz"),
    ],
)  # fmt: skip
def test_a_context_that_is_not_valid_begins_a_new_trace(counts: Counts, given: str) -> None:
    made = asked(counts.tracing("http://127.0.0.1:9"), ("traceparent", given))
    assert made.trace.id not in (None, ROOT, "0" * 32)


def test_two_contexts_are_not_valid(counts: Counts) -> None:
    twice = [("traceparent", PARENT)] * 2
    assert asked(counts.tracing("http://127.0.0.1:9"), *twice).trace.id != ROOT


def test_a_state_that_is_too_long_is_left_out(counts: Counts) -> None:
    tracing = counts.tracing("http://127.0.0.1:9")
    made = asked(tracing, ("traceparent", PARENT), ("tracestate", "a=" + "b" * 600))
    assert made.trace.id == ROOT
    assert "tracestate" not in sent_on(made)


def test_who_decides_what_is_recorded(counts: Counts) -> None:
    unsampled = ("traceparent", PARENT.replace("-01", "-00"))
    with collecting() as collector:
        for recording, header, is_recorded in (
            ({"ratio": 0.0}, ("x", ""), False),
            ({"ratio": 0.0}, ("traceparent", PARENT), True),
            ({"ratio": 1.0}, unsampled, False),
            ({"ratio": 1.0, "follows_clients": False}, unsampled, True),
            ({"ratio": 0.0, "follows_clients": False}, ("traceparent", PARENT), False),
        ):
            tracing = counts.tracing(collector.url, **recording)
            tracing.exporting.start()
            before = counts.sent
            made = asked(tracing, header)
            flags = sent_on(made)["traceparent"].rpartition("-")[2]
            assert bool(int(flags, 16) & 1) is is_recorded, recording
            tracing.end(made)
            tracing.exporting.close(5)
            assert counts.sent - before == (3 if is_recorded else 0), recording
    assert counts.lost == 0


def test_a_call_has_the_attributes_of_the_conventions(counts: Counts) -> None:
    with collecting() as collector:
        tracing = counts.tracing(collector.url, service="front", version="1", text=True)
        tracing.exporting.start()
        made = asked(tracing)
        with made.trace.step("m", "chat", TALK, keeps_text=True) as step:
            step.begin("gpu-1", "vllm", external=False)
            step.saw([event("wo", completion_tokens=1), event("x", index=1)])
            step.saw([event("rds", finish="stop", completion_tokens=2, cached_tokens=1)])
            step.saw([event("", index=1, finish="length", cached_tokens=1)])
        with made.trace.step("m", "embeddings", None, keeps_text=True) as step:
            step.begin("gpu-1", "vllm", external=False)
            step.used(Usage(7))
        with pytest.raises(BackendFailed), made.trace.step("m", "rerank", None, keeps_text=True):
            raise BackendFailed("canary-of-an-upstream", code="incomplete")
        made.route, made.status, made.error = "/v1/x", 200, "incomplete"
        tracing.end(made)
        tracing.exporting.close(5)
        spans = {span.name: span for span in collector.spans}
        chat = attributes(spans["chat m"])
        assert chat.pop("gen_ai.response.time_to_first_chunk") >= 0
        assert chat == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "vllm",
            "gen_ai.request.model": "m",
            "gen_ai.response.model": "m",
            "gen_ai.response.finish_reasons": ["stop", "length"],
            "gen_ai.usage.input_tokens": 3,
            "gen_ai.usage.output_tokens": 3,
            "gen_ai.usage.cache_read.input_tokens": 1,
            "gateway.upstream": "gpu-1",
            "gen_ai.input.messages": '[{"role":"user","parts":'
            '[{"type":"text","content":"words of a prompt"}]}]',
            "gen_ai.output.messages": '[{"role":"assistant","parts":'
            '[{"type":"text","content":"words"}],"finish_reason":"stop"},{"role":"assistant",'
            '"parts":[{"type":"text","content":"x"}],"finish_reason":"length"}]',
        }
        assert [one.name for one in spans["chat m"].events] == ["first_token"]
        assert attributes(spans["embeddings m"])["gen_ai.usage.input_tokens"] == 7
        server, failed = spans["POST /v1/x"], collector.spans[-2]
        assert attributes(failed)["error.type"] == "incomplete"
        assert (failed.status.code, server.status.code) == (2, 2)
        assert all(one.parent_span_id == server.span_id for one in collector.spans[:-1])
        resource = collector.requests[0].resource_spans[0].resource
        assert {"service.name": "front", "service.version": "1"}.items() <= attributes(
            resource  # type: ignore[arg-type]
        ).items()
        assert collector.heads[0]["x-key"] == "token-canary"
        assert b"canary-of-an-upstream" not in b"".join(collector.bodies)


def test_a_long_prompt_is_cut_from_its_beginning() -> None:
    call = ToolCall("f", "{}", "call_1")
    messages = (
        Message("system", "s" * MAX_TEXT),
        Message("assistant", "", calls=(call,)),
        Message("tool", "sunny", answers="call_1"),
        Message("user", (Text("look"), Image())),
    )
    shown = input_messages(Generation(Conversation(messages)))
    assert shown is not None
    assert len(shown) < MAX_TEXT + 1000
    assert '{"type":"tool_call_response","id":"call_1","response":"sunny"}' in shown
    assert shown.endswith('{"type":"text","content":"look"},{"type":"blob","modality":"image"}]}]')


@pytest.mark.parametrize("mode", ["refuse", "drop", "away"])
def test_spans_that_are_not_taken_are_counted(
    counts: Counts, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    with collecting(mode) as collector:
        url = "http://127.0.0.1:9" if mode == "away" else collector.url
        tracing = counts.tracing(url)
        tracing.exporting.start()
        for lost in (1, 2):
            tracing.end(asked(tracing))
            wait_for(lambda lost=lost: counts.lost == lost, what="a lost span")  # type: ignore[misc]
        assert (counts.sent, counts.lost) == (0, 2)
        own = [one.message for one in caplog.records if one.name.startswith("frontend")]
        assert own == ["the trace collector does not accept spans; they are lost"]
        if mode == "away":
            return
        collector.mode = "accept"
        tracing.end(asked(tracing))
        tracing.exporting.close(5)
    assert counts.sent == 1


def test_a_collector_that_stalls_stops_nothing(counts: Counts) -> None:
    with collecting("stall") as collector:
        tracing = counts.tracing(collector.url, waiting=8)
        tracing.exporting.start()
        tracing.end(asked(tracing))
        wait_for(lambda: collector.attempts > 0, what="a batch that stalls")
        for _ in range(20):
            tracing.end(asked(tracing))
        assert counts.lost >= 12 - 8  # no more than 8 wait, and at most one batch failed meanwhile
        tracing.exporting.close(0.1)
        wait_for(lambda: counts.lost == 21, what="all of them counted")
    assert counts.sent == 0


def test_a_gateway_without_traces_imports_nothing_for_them() -> None:
    # redis-py imports OpenTelemetry's metrics by itself, where they are installed
    modules = ("requests", "opentelemetry.exporter", "frontend.telemetry.traces.tracing")
    code = f"import sys, frontend.serve; print(any(n in sys.modules for n in {modules}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_settings_say_what_is_wrong_and_show_no_token(tmp_path: object) -> None:
    for given in (
        {"traces_url": "ftp://x"},
        {"traces_url": "http://user:token-canary@x"},
        {"traces_headers": SecretStr("token-canary")},
        {"traces_sampling": 2},
    ):
        with pytest.raises(ValidationError) as caught:
            TraceSettings(**given)
        assert "token-canary" not in str(caught.value.errors(include_input=False))
    settings = TraceSettings(traces_url="http://h:4318", traces_headers=SecretStr("A=b=c, d=e"))
    assert settings.collector == ("http://h:4318/v1/traces", {"a": "b=c", "d": "e"})
    assert "b=c" not in repr(settings)
    assert TraceSettings(traces_url="http://h/x/").collector == ("http://h/x", {})
