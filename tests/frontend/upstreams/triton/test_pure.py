"""Tensors' bytes, failures' meaning, and what a config says about a model."""

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2
from tritonclient.grpc.model_config_pb2 import ModelConfig

from frontend.errors import BackendFailed
from frontend.upstreams.triton.events import read_events
from frontend.upstreams.triton.failures import from_message, from_status
from frontend.upstreams.triton.models import Restarts, read_model
from frontend.upstreams.triton.tensors import (
    add_numbers,
    add_texts,
    output,
    pack_texts,
    unpack_bytes,
)


@given(st.lists(st.text()))
def test_texts_survive_packing(texts: list[str]) -> None:
    assert [part.decode() for part in unpack_bytes(pack_texts(texts))] == texts


def test_tensors_stand_in_the_request_as_triton_reads_them() -> None:
    request = service_pb2.ModelInferRequest()
    add_texts(request, "text", ["ab"], [1, 1])
    add_numbers(request, "seed", "INT64", [-1], [1])
    assert list(request.raw_input_contents) == [b"\2\0\0\0ab", b"\xff" * 8]
    assert [(i.name, i.datatype, list(i.shape)) for i in request.inputs] == [
        ("text", "BYTES", [1, 1]),
        ("seed", "INT64", [1]),
    ]


def test_an_output_is_found_by_name() -> None:
    response = service_pb2.ModelInferResponse(raw_output_contents=[b"a", b"b"])
    response.outputs.add(name="x", shape=[1])
    response.outputs.add(name="y", shape=[2])
    assert output(response, "y") == b"b"
    with pytest.raises(BackendFailed, match="'z'"):
        output(response, "z")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"index": 0}', '"text"'])
def test_an_event_that_cannot_be_read_is_the_backends_failure(text: str) -> None:
    with pytest.raises(BackendFailed):
        read_events(pack_texts([text]))


def marked(**fields: object) -> str:
    return f"in ensemble 'm', refused toolkit-error:{json.dumps(fields)}"


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        (marked(code="context_length_exceeded", message="too long", status=400), 400, "context"),
        (marked(code="unavailable", message="later", status=503), 503, "unavailable"),
        (marked(code="x", message="m", status=500), 502, "x"),
        (marked(code="slow_down", message="m", status=429), 429, "slow_down"),
        (marked(code=5, param=[], message=None, status="odd"), 502, "backend_error"),
        ("Stub process 'm_0_0' is not healthy.", 503, "backend_unavailable"),
        ("RuntimeError: shm region /secret", 502, "backend_error"),
        ("toolkit-error:{not json", 502, "backend_error"),
    ],
)
def test_messages_become_errors(text: str, status: int, code: str) -> None:
    error = from_message(text, "req-1")
    assert error.status == status
    assert (error.code or "").startswith(code)


def test_a_backends_own_text_stays_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        error = from_message("secret path /dev/shm/x", "req-1")
    assert "secret" not in error.message
    assert "req-1" in error.message
    assert "secret path" in caplog.text


@pytest.mark.parametrize(
    ("code", "status"), [("DEADLINE_EXCEEDED", 504), ("UNAVAILABLE", 503), ("INTERNAL", 502)]
)
def test_statuses_become_errors(code: str, status: int) -> None:
    assert from_status(code, "details", "req-1").status == status


def test_a_config_says_what_a_model_is() -> None:
    config = ModelConfig(name="m", max_batch_size=8)
    for key, value in {
        "toolkit.contract": "1",
        "toolkit.kind": "embedding",
        "toolkit.aliases": '["a", "b"]',
        "toolkit.capabilities": '["embedding"]',
        "toolkit.dimensions": "384",
    }.items():
        config.parameters[key].string_value = value
    served = read_model(config)
    assert served is not None
    model = served.model
    assert (model.kind, model.aliases, model.dimensions) == ("embedding", ("a", "b"), 384)
    assert served.max_batch == 8


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"toolkit.kind": "llm", "toolkit.contract": "2"},
        {"toolkit.kind": "llm", "toolkit.contract": "1", "toolkit.aliases": "[oops"},
        {"toolkit.kind": "diffusion", "toolkit.contract": "1", "toolkit.context_length": "many"},
        {"toolkit.kind": "diffusion", "toolkit.contract": "1", "toolkit.image": '{"width": 1}'},
        {"toolkit.kind": "diffusion", "toolkit.contract": "1", "toolkit.image": "5"},
    ],
)
def test_other_configs_are_no_public_models(parameters: dict[str, str]) -> None:
    config = ModelConfig(name="m")
    for key, value in parameters.items():
        config.parameters[key].string_value = value
    assert read_model(config) is None


@pytest.mark.parametrize(
    ("code", "details"),
    [
        ("PERMISSION_DENIED", "this call is restricted; …"),
        ("UNAVAILABLE", "This protocol is restricted, expecting header 'a'"),
        ("UNAVAILABLE", "explicit model load / unload is not allowed if polling is enabled"),
    ],
)
def test_a_closed_control_call_is_nothing_to_try_again(code: str, details: str) -> None:
    refusal = from_status(code, details, "req-1")
    assert refusal.status == 501
    assert "its operator does" in refusal.message


def restarts(*loads: str) -> list[list[str]]:
    """The restarts that are seen of a model that was loaded as these, one after the other."""
    seen, found = Restarts(), []
    for loaded_as in loads:
        config = ModelConfig(name="m")
        if loaded_as:
            config.parameters["toolkit.generation"].string_value = loaded_as
        found.append(seen.see([config]))
    return found


def test_a_restart_is_a_new_number_and_nothing_else() -> None:
    # it died and was loaded again; an operator loaded it from disk: what runs is finished first
    assert restarts("", "1", "1", "", "2") == [[], ["m"], [], [], ["m"]]
    assert restarts("1") == [[]], "a gateway that started later knows of no other"
