"""What requests came to is counted once, and no caller can add a series."""

from collections.abc import AsyncIterator
from dataclasses import replace
from unittest.mock import patch

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.domain.request import Dialect
from frontend.domain.usage import Usage
from frontend.errors import BackendFailed, BackendUnavailable
from frontend.telemetry.histograms import Gaps
from frontend.telemetry.metrics import Metrics
from tests.support.databases import Databases
from tests.support.events import MODEL, event
from tests.support.inside import client_inside
from tests.support.metrics import samples_of, value_of
from tests.support.upstream import ScriptedUpstream, request

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
GROUPS = [
    [event("a", completion_tokens=1)],
    [event("b", completion_tokens=2)],
    [event("c", finish="stop", completion_tokens=5)],
]


@pytest.fixture
def upstream() -> ScriptedUpstream:
    return ScriptedUpstream(GROUPS)


@pytest.fixture
async def client(
    upstream: ScriptedUpstream, databases: Databases
) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_inside(upstream, databases) as http:
        yield http


async def metrics_of(client: httpx2.AsyncClient) -> str:
    answer = await client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return answer.text


async def test_a_generation_is_counted_with_its_times_and_tokens(
    client: httpx2.AsyncClient,
) -> None:
    assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 200
    text = await metrics_of(client)
    counted = {"dialect": "openai", "model": "m", "status": "200"}
    assert value_of(text, "gateway_requests_total", **counted) == 1
    for name, count in (
        ("time_to_first_token", 1),
        ("inter_token_latency", 4),  # of five tokens
        ("queue_wait", 1),
        ("request_duration", 1),
    ):
        assert value_of(text, f"gateway_{name}_seconds_count", model="m") == count, name
    assert value_of(text, "gateway_tokens_total", model="m", kind="prompt") == 3
    assert value_of(text, "gateway_tokens_total", model="m", kind="completion") == 5
    assert value_of(text, "gateway_requests_running", model="m") == 0
    assert value_of(text, "gateway_requests_waiting", model="m") == 0
    route = "/v1/chat/completions"
    assert value_of(text, "gateway_http_requests_total", route=route, status="200") == 1
    assert value_of(text, "gateway_usage_started_total") == 1
    assert value_of(text, "gateway_upstream_up", upstream="triton") == 1
    assert value_of(text, "gateway_disk_free_bytes") > 0


async def test_ten_thousand_names_of_no_model_add_one_series(client: httpx2.AsyncClient) -> None:
    await client.post("/v1/chat/completions", json={**CHAT, "model": "bogus"})
    before = await metrics_of(client)
    for number in range(10_000):
        body = {**CHAT, "model": f"bogus-{number}"}
        # one in ten goes through the whole of HTTP, the rest of the path is the same
        if number % 10 == 0:
            answer = await client.post("/v1/chat/completions", json=body)
            assert answer.status_code == 404
        else:
            await client.get(f"/v1/bogus-{number}")
    after = await metrics_of(client)
    series = {name: len(found) for name, found in samples_of(after).items()}
    own = {"gateway_http_requests_total", "gateway_refusals_total"}
    for name, found in samples_of(before).items():
        assert series[name] <= len(found) + (2 if name in own else 0), name
    assert value_of(after, "gateway_requests_total", model="unknown", status="404") == 1001
    assert value_of(after, "gateway_refusals_total", reason="model_not_found") == 1001
    assert "bogus" not in after


async def test_a_refusal_before_the_path_has_its_reason(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/chat/completions", json={**CHAT, "temprature": 1})
    assert answer.status_code == 400
    text = await metrics_of(client)
    assert value_of(text, "gateway_refusals_total", reason="unknown_parameter") == 1
    assert value_of(text, "gateway_requests_total") == 0


@pytest.mark.parametrize(
    ("error", "status"), [(BackendFailed("broken"), 502), (BackendUnavailable("away"), 503)]
)
async def test_a_failure_of_a_model_is_no_refusal(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream, error: Exception, status: int
) -> None:
    upstream.groups, upstream.error = (), error
    assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == status
    text = await metrics_of(client)
    assert value_of(text, "gateway_requests_total", model="m", status=str(status)) == 1
    assert value_of(text, "gateway_refusals_total") == 0


async def test_an_error_in_a_stream_is_counted_as_one(
    client: httpx2.AsyncClient, upstream: ScriptedUpstream
) -> None:
    upstream.groups, upstream.error = GROUPS[:1], BackendFailed("broken")
    answer = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
    assert answer.status_code == 200
    text = await metrics_of(client)
    assert value_of(text, "gateway_requests_total", model="m", status="500") == 1


def test_more_models_and_users_than_the_limit_are_counted_together() -> None:
    metrics = Metrics(by_user=True)
    for number in range(1200):
        asked = replace(request(f"user-{number}"), dialect=Dialect.OLLAMA)
        asked.outcome.usage = Usage(3, completion_tokens=2)
        metrics.runs.ended(asked, f"model-{number}", 200, None)
    found = samples_of(metrics.render().decode())
    assert len(found["gateway_requests_total"]) == 501
    assert value_of(found, "gateway_requests_total", model="other") == 700
    assert len(found["gateway_user_requests_total"]) == 1001
    assert value_of(found, "gateway_user_requests_total", user="other") == 200
    assert value_of(found, "gateway_user_tokens_total", kind="completion") == 2400


def test_users_are_no_labels_unless_a_setting_asks() -> None:
    metrics = Metrics()
    metrics.runs.ended(request("ada"), MODEL.name, 200, None)
    assert "ada" not in metrics.render().decode()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 5)), max_size=30))
def test_gaps_have_a_count_for_each_token_after_the_first_and_all_the_time(
    steps: list[tuple[int, int, int]],
) -> None:
    metrics, gaps, now_s = Metrics(), Gaps(), 0.0
    tokens, first, last = dict[int, int](), dict[int, tuple[float, int]](), dict[int, float]()
    for completion, more, wait in steps:
        now_s += wait / 4
        tokens[completion] = tokens.get(completion, 0) + more
        with patch("frontend.telemetry.histograms.perf_counter", return_value=now_s):
            gaps.saw([event(index=completion, completion_tokens=tokens[completion])])
        first.setdefault(completion, (now_s, tokens[completion]))
        if more or completion not in last:
            last[completion] = now_s
    histogram = metrics.runs.of("m").between_tokens
    gaps.add_to(histogram)
    text = metrics.render().decode()
    name = "gateway_inter_token_latency_seconds"
    assert value_of(text, f"{name}_count") == sum(tokens[one] - first[one][1] for one in tokens)
    assert value_of(text, f"{name}_sum") == pytest.approx(sum(last[c] - first[c][0] for c in last))
