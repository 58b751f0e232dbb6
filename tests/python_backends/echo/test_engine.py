"""The scripted engine behind its ensemble, on the real server."""

import json
import queue
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.client import Client, StreamError, text_of
from tests.support.processes import soon, wait_for
from tests.support.repository import write_echo_chat
from tests.support.triton import Server, serve


@pytest.fixture
def second(server: Server) -> Iterator[Client]:
    """Another connection: responses on one stream come in the order of the server's choice."""
    with Client(server.grpc_address) as client:
        yield client


def script(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": json.dumps(fields)}]}


def journal(client: Client, request_id: str = "") -> dict[str, Any]:
    client.send("echo.engine", stats=request_id)
    (report,) = [json.loads(r.arrays["stats"][0]) for r in client.responses() if r.arrays]
    return dict(report)


def test_a_reply_comes_in_its_chunks_and_ends(client: Client) -> None:
    client.send("echo", prompt=script(chunks=5, text="hello world"))
    found = list(client.responses())
    finals = [response.final for response in found]
    assert finals == [False] * (len(found) - 1) + [True]
    assert sum(len(response.events) for response in found) == 5
    assert text_of([event for response in found for event in response.events]) == "hello world"


def test_every_parameter_reaches_the_engine(client: Client) -> None:
    prompt, sampling = script(echo=True), {"temperature": 0.25, "stop": ["x"], "seed": 3}
    said = text_of(
        client.events("echo", prompt=prompt, sampling_parameters={**sampling, "stop": []})
    )
    assert json.loads(said) == {
        "prompt": prompt,
        "sampling_parameters": {**sampling, "stop": []},
    }


def test_sampling_parameters_are_optional(client: Client) -> None:
    assert text_of(client.events("echo", prompt={"text": "a b"})) == "a b"


def test_several_events_in_one_response(client: Client) -> None:
    client.send("echo", prompt=script(chunks=6, text="abcdef", events_per_response=4))
    assert [len(response.events) for response in client.responses()] == [4, 2]


def test_failures_in_the_middle_of_a_stream(client: Client) -> None:
    client.send("echo", prompt=script(chunks=5, fail_after=2, error={"code": "odd", "status": 418}))
    assert [client.next().final, client.next().final] == [False, False]
    with pytest.raises(StreamError, match='"status": 418'):
        client.next()
    with pytest.raises(StreamError, match="scripted failure"):
        client.events("echo", prompt=script(fail_after=0))
    with pytest.raises(StreamError, match="unknown script field"):
        client.events("echo", prompt=script(nonsense=1))
    with pytest.raises(StreamError, match="context_length_exceeded"):
        client.events("echo", prompt={"token_ids": [1] * 4096})


def test_a_cancel_stops_within_100_ms(client: Client, second: Client) -> None:
    soon(lambda number: cancel_s(client, second, f"stop-{number}"), 0.1)


def cancel_s(client: Client, second: Client, request_id: str) -> float:
    client.send("echo", request_id, prompt=script(chunks=3, never_finish=True))
    seen = 0
    while seen < 3:
        seen += len(client.next().events)
    sent_s = time.monotonic()
    second.send("echo.engine", cancel=request_id)
    last = client.next()
    assert last.final
    assert [event["finish_reason"] for event in last.events] == ["abort"]
    (entry,) = journal(client, request_id)["requests"]
    assert (entry["outcome"], entry["chunks_sent"]) == ("abort", 3)
    return float(entry["cancelled_s"]) - sent_s


def test_a_cancel_may_overtake_its_request(client: Client) -> None:
    client.send("echo.engine", cancel="early")
    assert [response.arrays for response in client.responses()] == [{}]
    events = client.events("echo", "early", prompt=script(chunks=50))
    assert [event["finish_reason"] for event in events] == ["abort"]


def test_a_client_that_leaves_stops_its_direct_request(server: Server, client: Client) -> None:
    with Client(server.grpc_address) as leaving:
        leaving.send("echo.engine", "leaver", prompt=script(chunks=1, never_finish=True))
        leaving.next()
    wait_for(lambda: journal(client, "leaver")["requests"][0]["outcome"], what="its end")
    assert journal(client, "leaver")["requests"][0]["outcome"] == "abort"


def test_many_at_once(server: Server) -> None:
    clients = [Client(server.grpc_address) for _ in range(32)]
    for number, each in enumerate(clients):
        each.send("echo", f"many-{number}", prompt=script(chunks=40, text=f"<{number}>" * 20))
    for number, each in enumerate(clients):
        events = [event for response in each.responses() for event in response.events]
        assert text_of(events) == f"<{number}>" * 20
        each.close()


def test_echo_embeddings_and_images(client: Client) -> None:
    arrays = client.infer("echo-embedding", text=[["red fish"], ["red fish"], ["blue"]])
    assert arrays["embedding"].shape == (3, 8)
    np.testing.assert_allclose(np.linalg.norm(arrays["embedding"], axis=1), 1, atol=1e-5)
    assert (arrays["embedding"][0] == arrays["embedding"][1]).all()
    seeds = [np.array([seed], dtype=np.int64) for seed in (1, 2)]
    both = client.infer("echo-diffusion", prompt="x", seed=seeds[0], count=2)["image"]
    assert both[1] == client.infer("echo-diffusion", prompt="x", seed=seeds[1])["image"][0]


def test_a_crash_is_a_crash(tmp_path: Path) -> None:
    """A stub that dies leaves streams without an end, its model "ready" and the server alive."""
    name = write_echo_chat(tmp_path / "repository")
    with serve(tmp_path / "repository", [name], tmp_path) as server:
        with Client(server.grpc_address, timeout_s=1) as client:
            assert outcome(client, {"text": "alive"}) == "alive"
            crash = script(chunks=1, fail_after=0, crash=True)
            assert outcome(client, crash) != "alive"
        with Client(server.grpc_address, timeout_s=1) as client:
            assert outcome(client, {"text": "alive"}) != "alive"
        url = f"{server.http_url}/v2/models/{name}/ready"
        with urllib.request.urlopen(url, timeout=10) as reply:
            assert reply.status == 200
        server.child.kill()


def outcome(client: Client, prompt: dict[str, Any]) -> str:
    try:
        return text_of(client.events("echo", prompt=prompt))
    except (StreamError, queue.Empty) as error:
        return repr(error)
