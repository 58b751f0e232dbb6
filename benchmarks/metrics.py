"""What counting one request costs: all metrics of a request in a loop, without the request.

CPU time of one core: the queue, the first token, each chunk of a stream, the end, the charge and
the HTTP answer. "shared" is with PROMETHEUS_MULTIPROC_DIR, for several processes. "traces": the
cost of a request's spans alone, without their sending.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from frontend.domain.events import Event
from frontend.domain.generation import Conversation, Generation
from frontend.domain.messages import Message
from frontend.domain.metering import Owner, UsageRow
from frontend.domain.usage import Usage
from frontend.telemetry.metrics import Metrics
from frontend.telemetry.traces.tracing import Collector, Recording, Tracing
from tests.support.events import event
from tests.support.upstream import request

_TALK = Generation(Conversation((Message("user", "hi"),)))


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU for each request."""

    what: str
    files: str
    us: float


def measure() -> list[Cost]:
    """In memory and with shared files."""
    costs = [Cost(what, "memory", us) for what, us in _measure()]
    with TemporaryDirectory() as folder:
        ran = subprocess.run(
            [sys.executable, "-m", "benchmarks.metrics"], capture_output=True, text=True,
            check=True, env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": folder},
        )  # fmt: skip
    lines = [line.rpartition(" ") for line in ran.stdout.splitlines()]
    costs += [Cost(what, "traces", us) for what, us in _measure_traces()]
    return costs + [Cost(what, "shared", float(us)) for what, _, us in lines]


def _measure(rounds: int = 5, requests: int = 2000) -> list[tuple[str, float]]:
    """The fastest round of each."""
    found = []
    for what, chunks in (("unary", 0), ("stream of 64 chunks", 64)):
        metrics = Metrics()
        events = [[event("a", completion_tokens=number + 1)] for number in range(chunks)]
        costs = [_round(metrics, events, requests) for _ in range(rounds)]
        found.append((what, min(costs) * 1e6 / requests))
    return found


def _round(metrics: Metrics, events: list[list[Event]], count: int) -> float:
    row = UsageRow("id", Owner(), "m", "openai", "/v1/chat/completions", "triton", 0, 200)
    row.usage = Usage(10, completion_tokens=64)
    asked = [request() for _ in range(count)]
    runs, begun_s = metrics.runs, time.process_time()
    for one in asked:
        outcome = one.outcome
        outcome.route, outcome.status, outcome.usage = row.endpoint, 200, row.usage
        runs.reserved("granted", first=True)
        with runs.turn("m", one) as turn:
            turn.begin()
            if events:
                stream = runs.stream("m", one)
                for group in events:
                    stream.saw(group)
        runs.settled(True, True)
        runs.ended(one, "m", 200, None)
        metrics.answered(outcome)
        metrics.charge(row)
    return time.process_time() - begun_s


def _measure_traces(rounds: int = 5, requests: int = 2000) -> list[tuple[str, float]]:
    """The fastest round of each."""
    chunks = [[event("a", completion_tokens=number + 1)] for number in range(64)]
    found = []
    for what, ratio in (("off", None), ("not sampled", 0.0), ("recorded", 1.0)):
        costs = []
        for _ in range(rounds):
            # its thread is not started: what it does is not a request's cost
            tracing = None if ratio is None else Tracing(
                Collector("http://127.0.0.1:9"), Recording(ratio=ratio), 3 * requests,
                (lambda _: None, lambda _: None), {},
            )  # fmt: skip
            costs.append(_traced(tracing, chunks, requests))
        found.append((f"{what}, stream of 64 chunks", min(costs) * 1e6 / requests))
    return found


def _traced(tracing: Tracing | None, events: list[list[Event]], count: int) -> float:
    outcomes = [request().outcome for _ in range(count)]
    headers = [(b"host", b"x"), *[(b"x-header", b"value")] * 10]
    begun_s = time.process_time()
    for outcome in outcomes:
        if tracing is not None:
            outcome.trace = tracing.begin(outcome, headers)
        with outcome.trace.step("m", "chat", _TALK, keeps_text=False) as step:
            step.begin("triton", "triton", external=False)
            for group in events:
                step.saw(group)
        if tracing is not None:
            outcome.status = 200
            tracing.end(outcome)
    return time.process_time() - begun_s


if __name__ == "__main__":
    for name, cost_us in _measure():
        print(name, f"{cost_us:.1f}")
