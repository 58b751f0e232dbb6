"""The TensorRT-LLM engine: the contract outside, NVIDIA's tensors inside, on the real server."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from python_backends.errors import ContextOverflow, InvalidInput
from python_backends.trtllm_engine.sampling import sampling_tensors
from python_backends.trtllm_engine.stream import Stream
from tests.support.client import Client, StreamError
from tests.support.repository import write_step
from tests.support.triton import Server, serve
from tests.support.weights import write_chat_tokenizer
from toolkit.kinds.llm.tensorrt_llm import llmapi_step
from toolkit.repository.parts import model_config
from toolkit.repository.pbtxt import generate
from toolkit.targets import find_target, newest_trtllm

INPUTS = {
    "token_ids?": ("INT32", [-1]),
    "sampling_parameters?": ("STRING", [1]),
    "reply?": ("STRING", [1]),
    "cancel?": ("STRING", [1]),
}
CONTEXT = 1024
STREAMS = 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("trtllm")
    write_step(
        root,
        "chat.engine",
        "trtllm_engine",
        (INPUTS, {"event": ("STRING", [-1])}),
        parameters={
            "model": "chat.tensorrt_llm",
            "context_length": str(CONTEXT),
            "streams": str(STREAMS),
        },
        model_transaction_policy={"decoupled": True},
    )
    write_chat_tokenizer(root / "chat.engine" / "1" / "tokenizer")
    config = model_config(llmapi_step("chat.tensorrt_llm"), find_target(newest_trtllm()))
    del config.parameters["toolkit.target"]
    config.model_transaction_policy.decoupled = True
    environment = "$$TRITON_MODEL_DIRECTORY/../.environments/onnx"
    config.parameters["EXECUTION_ENV_PATH"].string_value = environment
    version = root / "chat.tensorrt_llm" / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(generate(config))
    shutil.copyfile(Path(__file__).with_name("fake_llmapi.py"), version / "model.py")
    models = ["chat.tensorrt_llm", "chat.engine"]
    with serve(root, models, tmp_path_factory.mktemp("scratch")) as running:
        yield running


def ids(text: str, tmp: Path) -> list[int]:
    return list(write_chat_tokenizer(tmp)(text)["input_ids"])


def ask(client: Client, request_id: str, tokens: list[int], **sampling: object) -> None:
    client.send("chat.engine", request_id, token_ids=tokens, sampling_parameters=sampling)


def test_text_streams_as_events(server: Server, tmp_path: Path) -> None:
    with Client(server.grpc_address) as client:
        ask(client, "1", ids("héllo", tmp_path), max_tokens=20)
        events = [event for response in client.responses() for event in response.events]
    assert "".join(event["text"] for event in events) == "HÉLLO"
    assert [event["finish_reason"] for event in events][-1] == "stop"
    assert events[-1]["usage"] == {"prompt_tokens": 7, "cached_tokens": 0, "completion_tokens": 5}


def test_sampling_reaches_nvidias_tensors(server: Server, tmp_path: Path) -> None:
    with Client(server.grpc_address) as client:
        ask(client, "2", ids("tell", tmp_path), temperature=0, stop=["x"], seed=7)
        events = [event for response in client.responses() for event in response.events]
    told = json.loads("".join(event["text"] for event in events))
    assert told["sampling_param_top_k"] == [1]
    assert told["sampling_param_seed"] == [7]
    assert told["sampling_param_stop"] == ["x"]
    assert told["streaming"] == [True]
    assert told["sampling_param_max_tokens"] == [CONTEXT - 5]


def test_many_requests_do_not_harm_the_step(server: Server, tmp_path: Path) -> None:
    """Python objects that a thread frees without Python's lock end the process after some."""
    tokens, count = ids("tell", tmp_path), 200
    with Client(server.grpc_address) as client:
        for number in range(count):
            ask(client, f"many-{number}", tokens)
        responses = [response for _ in range(count) for response in client.responses()]
    reasons = [event["finish_reason"] for response in responses for event in response.events]
    assert reasons.count("stop") == count


def test_a_cancel_ends_the_request(server: Server, tmp_path: Path) -> None:
    with Client(server.grpc_address) as client, Client(server.grpc_address) as other:
        ask(client, "3", ids("slow" * 40, tmp_path))
        seen = []
        for response in client.responses():
            if not seen:
                other.send("chat.engine", "4", cancel="3")
            seen += response.events
    assert seen[-1]["finish_reason"] == "abort"
    assert sum(len(event["text"]) for event in seen) < 160


def test_a_cancel_does_not_wait_for_a_free_thread(server: Server, tmp_path: Path) -> None:
    with ExitStack() as stack:
        *clients, last, other = (
            stack.enter_context(Client(server.grpc_address)) for _ in range(STREAMS + 2)
        )
        for number, client in enumerate(clients):
            ask(client, f"all-{number}", ids("slow" * 40, tmp_path))
            next(client.responses())
        # every thread is taken: this one waits, and its cancel is not forgotten meanwhile
        ask(last, "waiting", ids("slow" * 40, tmp_path))
        for request_id in ("waiting", *(f"all-{number}" for number in range(STREAMS))):
            other.send("chat.engine", f"cancel-{request_id}", cancel=request_id)
        seen = [event for response in last.responses() for event in response.events]
        assert [event["finish_reason"] for event in seen] == ["abort"]
        for client in clients:
            *_, end = (event for response in client.responses() for event in response.events)
            assert end["finish_reason"] == "abort"


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": "hot"},
        {"temperature": True},
        {"temperature": float("nan")},
        {"top_p": [1]},
        {"top_k": "5"},
        {"top_k": 2**40},
        {"top_k": 1.5},
        {"seed": -1},
        {"seed": 2**64},
        {"max_tokens": "10"},
        {"max_tokens": {}},
        {"stop": 5},
        {"stop": ["a", None]},
        {"stop": "\ud800"},
        {"logit_bias": [1]},
    ],
)
def test_wrong_values_are_refused_by_name(sampling: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(sampling))) as caught:
        sampling_tensors(sampling, 10, 100)
    assert caught.value.param == next(iter(sampling))


def test_what_it_does_not_take_is_refused(server: Server, tmp_path: Path) -> None:
    with Client(server.grpc_address) as client:
        ask(client, "5", ids("x", tmp_path), logprobs=2)
        with pytest.raises(StreamError, match="'logprobs'"):
            list(client.responses())


def test_sampling_defaults_and_limits() -> None:
    assert sampling_tensors({}, 10, 100)["sampling_param_temperature"].tolist() == [1.0]
    assert sampling_tensors({"n": 1, "min_p": 0}, 10, 100).keys() == {
        "sampling_param_temperature",
        "sampling_param_max_tokens",
    }
    with pytest.raises(InvalidInput):
        sampling_tensors({"n": 2}, 10, 100)
    with pytest.raises(ContextOverflow):
        sampling_tensors({"max_tokens": 101}, 10, 100)


def test_half_a_character_waits_for_the_rest() -> None:
    stream = Stream(3)
    assert stream.event("a\ufffd", "None")["text"] == "a"
    assert stream.event("aé", "None")["text"] == "é"
    assert stream.event("aé", "length")["finish_reason"] == "length"
