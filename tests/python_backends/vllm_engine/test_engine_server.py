"""The vLLM engine behind its ensemble, with a tiny random llama of real architecture."""

import contextlib
import json
import math
import os
import signal
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from python_backends.errors import MARKER
from python_backends.vllm_engine.reaper import MARK, mapped
from tests.python_backends.models import write_chat
from tests.support.client import Client, StreamError, text_of
from tests.support.processes import soon, wait_for
from tests.support.triton import Server, serve
from tests.support.weights import write_llama

CLOSED = {"additionalProperties": False}
PROPERTIES = {
    "type": "object",
    "properties": {f"p{number}": {"type": "string"} for number in range(1200)},
}
LONG = {"max_tokens": 400, "ignore_eos": True, "temperature": 1.0, "seed": 1}


@pytest.fixture(scope="module")
def engine_server(scratch: Path) -> Iterator[Server]:
    write_llama(scratch / "llama")
    name = write_chat(scratch / "engine", "tiny", scratch / "llama")
    with serve(scratch / "engine", [name], scratch / "engine-run", ready_s=300) as running:
        yield running


@pytest.fixture
def client(engine_server: Server) -> Iterator[Client]:
    with Client(engine_server.grpc_address) as connected:
        yield connected


@pytest.fixture
def second(engine_server: Server) -> Iterator[Client]:
    with Client(engine_server.grpc_address) as connected:
        yield connected


def chat(content: str = "hi") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def ask(client: Client, **sampling: Any) -> list[dict[str, Any]]:
    return client.events("tiny", prompt=chat(), sampling_parameters=sampling)


def refusal(client: Client, **sampling: Any) -> dict[str, Any]:
    with pytest.raises(StreamError) as caught:
        ask(client, **sampling)
    fields: dict[str, Any] = json.loads(str(caught.value).partition(MARKER)[2].strip())
    return fields


def test_a_reply_streams_and_counts(client: Client) -> None:
    client.send("tiny", prompt=chat(), sampling_parameters={**LONG, "max_tokens": 20})
    responses = list(client.responses())
    events = [event for response in responses for event in response.events]
    assert responses[-1].final
    assert responses[-1].events[-1]["finish_reason"] == "length", "the last event ends the stream"
    assert sum(len(event["token_ids"]) for event in events) == 20
    assert events[-1]["usage"]["completion_tokens"] == 20
    assert {event["usage"]["prompt_tokens"] for event in events} == {
        len(client.infer("tiny.prompt", prompt=chat())["token_ids"])
    }


def test_greedy_replies_repeat_and_n_are_told_apart(client: Client) -> None:
    one = ask(client, temperature=0, max_tokens=16, ignore_eos=True)
    two = ask(client, temperature=0, max_tokens=16, ignore_eos=True)
    assert text_of(one) == text_of(two)
    several = ask(client, temperature=1.0, seed=3, max_tokens=12, ignore_eos=True, n=3)
    assert {event["index"] for event in several} == {0, 1, 2}
    assert len({text_of(several, index) for index in range(3)}) == 3
    last = {event["index"]: event for event in several}
    assert all(event["usage"]["completion_tokens"] == 12 for event in last.values())


def test_logprobs_have_the_bytes_of_the_text(client: Client) -> None:
    events = ask(client, **{**LONG, "max_tokens": 60}, logprobs=2)
    tokens = [token for event in events for token in event["logprobs"] or ()]
    assert len(tokens) == 60
    assert all(len(token["top"]) == 2 for token in tokens)
    joined = b"".join(bytes(token["bytes"]) for token in tokens if token["id"] > 2)
    assert any(byte > 127 for byte in joined), "random bytes are mostly no characters"
    # half a character at the very end has bytes, but never becomes text
    assert joined.decode(errors="replace").rstrip("\ufffd") == text_of(events).rstrip("\ufffd")


def test_prompt_logprobs_score_the_prompt(client: Client) -> None:
    events = client.events(
        "tiny",
        prompt={"token_ids": [5, 6, 7, 8]},
        sampling_parameters={"prompt_logprobs": 1, "max_tokens": 1},
    )
    first = events[0]
    assert first["prompt_token_ids"] == [5, 6, 7, 8]
    assert first["prompt_logprobs"][0]["logprob"] is None
    assert [token["id"] for token in first["prompt_logprobs"][1:]] == [6, 7, 8]


def test_stops_and_structure_are_obeyed(client: Client) -> None:
    free = text_of(ask(client, temperature=0, max_tokens=30, ignore_eos=True))
    stop = free[10:12]
    events = ask(client, temperature=0, max_tokens=30, ignore_eos=True, stop=[stop])
    assert text_of(events) == free[: free.index(stop)]
    assert (events[-1]["finish_reason"], events[-1]["stop_reason"]) == ("stop", stop)
    chosen = ask(client, structured_outputs={"choice": ["yes", "no"]}, max_tokens=9)
    assert text_of(chosen) in {"yes", "no"}


def test_bad_sampling_is_refused_by_name(client: Client) -> None:
    assert refusal(client, temprature=1)["param"] == "temprature"
    assert "'temperature'" in refusal(client, temprature=1)["message"]
    assert refusal(client, temperature="hot")["param"] == "temperature"
    assert refusal(client, temperature=9)["status"] == 400
    assert refusal(client, top_p=0)["param"] == "top_p"
    assert refusal(client, logit_bias={"99999": 1})["status"] == 400
    assert refusal(client, structured_outputs={"regex": "("})["status"] == 400
    assert refusal(client, logprobs=10_000)["status"] == 400
    with pytest.raises(StreamError, match="context_length_exceeded"):
        client.events("tiny", prompt={"token_ids": [5] * 600})


@pytest.mark.parametrize(
    ("structure", "code", "param"),
    [
        ({"regex": r"\p{L}+"}, "invalid_grammar", "regex"),
        ({"json": {"$ref": "#"}}, "invalid_grammar", "json"),
        ({"json": {"type": "object", "minProperties": 3, "properties": {}} | CLOSED}, "", "json"),
        ({"json": {"type": "string", "pattern": r"^\p{L}+$"}}, "invalid_grammar", "json"),
        ({"json": {"type": "integer", "multipleOf": 3}}, "unsupported_schema", "json.multipleOf"),
        ({"grammar": "x" * 200_000}, "grammar_too_large", "grammar"),
        ({"json": PROPERTIES | {"minProperties": 600}}, "grammar_too_expensive", "json"),
        ({"choice": ["a"], "json_object": True}, "", ""),
        ({"json_object": False}, "", "json_object"),
    ],
)
def test_what_no_grammar_can_be_made_of_is_refused_before_the_first_event(
    client: Client, structure: dict[str, Any], code: str, param: str
) -> None:
    error = refusal(client, structured_outputs=structure, max_tokens=9)
    assert error["status"] == 400
    if code:
        assert error["code"] == code
    assert error["param"] in (f"structured_outputs.{param}", "structured_outputs")
    assert text_of(ask(client, structured_outputs={"choice": ["yes"]}, max_tokens=9)) == "yes"


def test_every_kind_of_grammar_is_obeyed_whatever_came_first(client: Client) -> None:
    digits = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
    tag = {"type": "structural_tag", "format": {"type": "const_string", "value": "tag"}}
    for structure, check in (
        ({"json": digits}, lambda text: len(json.loads(text)) == 2),
        ({"json": json.dumps(digits)}, lambda text: len(json.loads(text)) == 2),
        ({"json_object": True}, lambda text: isinstance(json.loads(text), dict)),
        ({"regex": "[ab]{3}"}, lambda text: len(text) == 3),
        ({"choice": ["ye\n", 'n"o']}, lambda text: text in ("ye\n", 'n"o')),
        ({"grammar": 'root ::= "x" | "y"'}, lambda text: text in "xy"),
        ({"grammar": 'start: "x" | "y"'}, lambda text: text in "xy"),
        ({"structural_tag": json.dumps(tag)}, lambda text: text == "tag"),
    ):
        events = ask(client, structured_outputs=structure, max_tokens=300, temperature=1.0, seed=5)
        if events[-1]["finish_reason"] == "stop":
            assert check(text_of(events)), (structure, text_of(events))  # type: ignore[no-untyped-call]
        else:
            assert structure == {"json_object": True}, "the others are short"


def test_several_completions_obey_one_grammar_each_on_its_way(client: Client) -> None:
    events = ask(client, structured_outputs={"regex": "[a-z]{8}"}, n=4, temperature=1.0, seed=2)
    texts = {text_of(events, index) for index in range(4)}
    assert len(texts) == 4
    assert all(len(text) == 8 and text.isalpha() for text in texts)


def test_a_grammar_whose_masks_take_too_long_ends_its_request_alone(
    engine_server: Server, client: Client, second: Client
) -> None:
    """What comes behind the first letter is not found by trying, and steered to from outside."""
    bomb = "o((((.*)*)*)*)*x|[a-np-z][a-z ]*"
    bias = {str(3 + ord("o") - ord("!")): 100}
    started = (core := engine_processes("EngineCore"))
    second.send("tiny", prompt=chat(), sampling_parameters=LONG)
    second.next()
    error = refusal(
        client, structured_outputs={"regex": bomb}, logit_bias=bias, max_tokens=400, ignore_eos=True
    )
    assert (error["status"], error["code"]) == (400, "grammar_too_expensive")
    assert "compile" not in error["message"], "it passed the trial"
    events = [event for response in second.responses() for event in response.events]
    assert events[-1]["usage"]["completion_tokens"] == LONG["max_tokens"]
    assert core == started == engine_processes("EngineCore")


@pytest.mark.parametrize("early", [False, True])
def test_a_request_is_cancelled_while_its_grammar_is_compiled(
    client: Client, second: Client, early: bool
) -> None:
    def cancel(number: int) -> float:
        name, least = f"compiles-{number}", 590 - 2 * number + early
        slow = {"structured_outputs": {"json": PROPERTIES | {"minProperties": least}}}
        if not early:
            client.send("tiny", name, prompt=chat(), sampling_parameters=slow)
        second.send("tiny.engine", cancel=name)
        list(second.responses())
        if early:
            client.send("tiny", name, prompt=chat(), sampling_parameters=slow)
        started_s = time.monotonic()
        (last,) = list(client.responses())
        assert [event["finish_reason"] for event in last.events] == ["abort"]
        return time.monotonic() - started_s

    soon(cancel, 5)


def test_a_cancel_stops_one_of_two(engine_server: Server, client: Client, second: Client) -> None:
    """12 ms on an idle machine; the bound tells a cancel from a request that ran out."""
    second.send("tiny", "stays", prompt=chat(), sampling_parameters=LONG)
    with Client(engine_server.grpc_address) as third:
        third.send("tiny.engine", cancel="")
        list(third.responses())  # it is connected now
        soon(lambda number: cancel_s(client, third, f"goes-{number}"), 1)
    events = [event for response in second.responses() for event in response.events]
    assert events[-1]["usage"]["completion_tokens"] == LONG["max_tokens"]


def cancel_s(client: Client, other: Client, request_id: str) -> float:
    client.send("tiny", request_id, prompt=chat(), sampling_parameters={**LONG, "n": 4})
    client.next()
    sent_s = time.monotonic()
    other.send("tiny.engine", cancel=request_id)
    last = list(client.responses())[-1]
    if last.events[-1]["finish_reason"] != "abort":
        return math.inf  # it was through before the cancel arrived
    return last.at_s - sent_s


def test_an_early_cancel_and_a_cancel_of_several(client: Client, second: Client) -> None:
    second.send("tiny.engine", cancel="soon")
    assert [response.arrays for response in second.responses()] == [{}]
    events = client.events("tiny", "soon", prompt=chat(), sampling_parameters=LONG)
    assert [event["finish_reason"] for event in events] == ["abort"]
    client.send("tiny", "many", prompt=chat(), sampling_parameters={**LONG, "n": 3})
    client.next()
    second.send("tiny.engine", cancel="many")
    events = [event for response in client.responses() for event in response.events]
    ended = [event["index"] for event in events if event["finish_reason"] == "abort"]
    assert sorted(ended) == [0, 1, 2]


def test_a_client_that_leaves_frees_the_engine(engine_server: Server, client: Client) -> None:
    """Sixteen direct requests fill the engine; when their client leaves, the next one is served."""

    def leave(_: int) -> float:
        with Client(engine_server.grpc_address) as leaving:
            for _ in range(16):
                leaving.send("tiny.engine", token_ids=[5, 6], sampling_parameters=LONG)
            leaving.next()
        started_s = time.monotonic()
        ask(client, max_tokens=1)
        return time.monotonic() - started_s

    soon(leave, 2)


def post(server: Server, path: str, body: dict[str, Any]) -> str:
    request = urllib.request.Request(
        f"{server.http_url}/v2/models/tiny.engine/{path}", json.dumps(body).encode()
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return str(reply.read().decode())


def test_tritons_own_vllm_tensors_over_http(engine_server: Server) -> None:
    sampling = json.dumps({"temperature": 0, "max_tokens": 8, "ignore_eos": True})
    body = {"text_input": "Say", "sampling_parameters": sampling, "stream": False}
    whole = json.loads(post(engine_server, "generate", {**body, "return_num_output_tokens": True}))
    assert whole["text_output"].startswith("Say")
    assert whole["num_output_tokens"] == 8
    bare = json.loads(post(engine_server, "generate", {**body, "exclude_input_in_output": True}))
    assert "Say" + bare["text_output"] == whole["text_output"]
    lines = post(engine_server, "generate_stream", {**body, "stream": True}).split("\n\n")
    pieces = [json.loads(line.removeprefix("data: "))["text_output"] for line in lines if line]
    assert len(pieces) == 8
    assert "".join(pieces) == bare["text_output"]


def engine_processes(name: str) -> list[int]:
    """Processes of engines, by what vLLM calls them."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if name in (folder / "cmdline").read_text() and _is_ours(folder):
                pids.append(int(folder.name))
    return pids


def _is_ours(folder: Path) -> bool:
    """Below this test's own process group tree: its server's session leader is our descendant."""
    pid = int(folder.name)
    while pid > 1:
        if pid == os.getpid():
            return True
        stat = Path(f"/proc/{pid}/stat").read_text()
        pid = int(stat.rpartition(")")[2].split()[1])
    return False


def test_a_dead_engine_fails_its_requests_and_comes_back(
    engine_server: Server, client: Client
) -> None:
    (core,) = engine_processes("EngineCore")
    client.send("tiny", prompt=chat(), sampling_parameters={**LONG, "n": 8})
    client.next()
    os.kill(core, signal.SIGKILL)
    with pytest.raises(StreamError, match="engine") as caught:
        list(client.responses())
    assert '"status": 503' in str(caught.value)
    with Client(engine_server.grpc_address) as other, pytest.raises(StreamError, match="503"):
        ask(other, max_tokens=1)
    assert wait_for_engine(engine_server, 240)
    assert len(engine_processes("EngineCore")) == 1


def wait_for_engine(server: Server, timeout_s: float) -> bool:
    deadline, pause = time.monotonic() + timeout_s, threading.Event()
    while time.monotonic() < deadline:
        with Client(server.grpc_address) as client, contextlib.suppress(StreamError):
            return len(ask(client, max_tokens=1)) == 1
        pause.wait(0.25)
    return False


def test_nothing_outlives_a_killed_stub(engine_server: Server) -> None:
    """The last test of the module: it leaves a dead stub behind."""
    (core,) = engine_processes("EngineCore")
    workers = engine_processes("VLLM::Worker")
    stub = stub_of(core)
    segments = [Path("/dev/shm", name) for name in mapped([stub, core, *workers])]
    mark = dict(
        line.split("=", 1) for line in Path(f"/proc/{core}/environ").read_text().split("\0") if line
    )[MARK]
    segments += (folders := list(Path(tempfile.gettempdir()).glob(f"tt-{mark[:16]}-*")))
    assert folders
    assert workers
    assert segments
    os.kill(stub, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, [core, *workers])), what="the end of the engine")
    wait_for(lambda: not any(path.exists() for path in segments), what="the end of its memory")
    engine_server.child.kill()


def stub_of(pid: int) -> int:
    """The stub above a process of its engine."""
    while "python_backend_stub" not in Path(f"/proc/{pid}/cmdline").read_text():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
