"""Outputs of vLLM become events; tokens become bytes."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from python_backends.errors import InvalidInput
from python_backends.vllm_engine.compatible import Answer, read_plain_request
from python_backends.vllm_engine.control_characters import ControlCharacters
from python_backends.vllm_engine.events import EventWriter, _copy
from python_backends.vllm_engine.vocabulary import Vocabulary, byte_characters
from tests.support.fakes import strings


@dataclass
class Choice:
    logprob: float
    rank: int | None
    decoded_token: str | None


@dataclass
class Part:
    index: int = 0
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[dict[int, Choice]] | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    cumulative_logprob: float | None = None


@dataclass
class Delta:
    outputs: list[Part]
    prompt_token_ids: list[int] | None = None
    prompt_logprobs: list[dict[int, Choice] | None] | None = None
    num_cached_tokens: int | None = None

    @property
    def finished(self) -> bool:
        return all(part.finish_reason for part in self.outputs)


def spell(token_id: int) -> str | None:
    return {1: "Ġhi", 2: "Ã", 3: "©", 4: "<end>"}.get(token_id)


def writer(count: int = 1, top: int = 0) -> EventWriter:
    vocabulary = Vocabulary(spell, {4: "<end>"}, byte_level=True)
    return EventWriter(vocabulary, prompt_tokens=7, count=count, top=top)


def test_an_event_is_a_delta_with_counts() -> None:
    events = writer()
    (first,) = events.write(Delta([Part(text=" hi", token_ids=[1])], num_cached_tokens=4))
    (last,) = events.write(Delta([Part(token_ids=[2, 3], finish_reason="stop", stop_reason="x")]))
    assert first == {
        "index": 0,
        "text": " hi",
        "token_ids": [1],
        "logprobs": None,
        "finish_reason": None,
        "stop_reason": None,
        "usage": {"prompt_tokens": 7, "cached_tokens": 4, "completion_tokens": 1},
    }
    assert last["usage"]["completion_tokens"] == 3
    assert (last["finish_reason"], last["stop_reason"]) == ("stop", "x")
    assert events.abort() == []


def test_abort_ends_what_is_open() -> None:
    events = writer(count=3)
    events.write(Delta([Part(index=1, text="a", token_ids=[1], finish_reason="length")]))
    ended = events.abort()
    assert [(event["index"], event["finish_reason"]) for event in ended] == [
        (0, "abort"),
        (2, "abort"),
    ]


def test_logprobs_have_exact_bytes_and_the_asked_number_of_tops() -> None:
    choices = {2: Choice(-1.5, 3, ""), 1: Choice(-0.1, 1, " hi"), 3: Choice(float("-inf"), 2, "é")}
    part = Part(token_ids=[2], logprobs=[choices], finish_reason="length")
    (event,) = writer(top=2).write(Delta([part]))
    (token,) = event["logprobs"]
    assert (token["id"], token["bytes"], token["logprob"]) == (2, [0xC3], -1.5)
    assert [(top["id"], top["logprob"]) for top in token["top"]] == [(1, -0.1), (3, -9999.0)]
    json.dumps(event, allow_nan=False)


def test_prompt_logprobs_stand_in_the_first_event() -> None:
    scores = [None, {1: Choice(-0.5, 1, " hi")}]
    output = Delta([Part()], prompt_token_ids=[4, 1], prompt_logprobs=scores)
    (event,) = writer(top=1).write(output)
    assert event["prompt_token_ids"] == [4, 1]
    assert event["prompt_logprobs"][0]["logprob"] is None
    assert event["prompt_logprobs"][0]["id"] == 4
    assert event["prompt_logprobs"][1]["bytes"] == list(b" hi")


def test_bytes_of_tokens() -> None:
    byte_level = Vocabulary(spell, {4: "<end>"}, byte_level=True)
    assert bytes(byte_level.bytes_of(2) + byte_level.bytes_of(3)).decode() == "é"
    assert bytes(byte_level.bytes_of(4)) == b"<end>"
    assert byte_level.bytes_of(99) == []
    pieces = {0: "▁hi", 1: "<0xE2>"}
    sentencepiece = Vocabulary(pieces.get, {}, byte_level=False)
    assert bytes(sentencepiece.bytes_of(0)) == b" hi"
    assert sentencepiece.bytes_of(1) == [0xE2]


@given(st.binary())
def test_the_byte_table_is_a_bijection(data: bytes) -> None:
    table = byte_characters()
    assert len(table) == len(set(table.values())) == 256
    characters = {byte: character for character, byte in table.items()}
    vocabulary = Vocabulary(lambda _: "".join(characters[byte] for byte in data), {}, True)
    assert bytes(vocabulary.bytes_of(0)) == data


def ask(**tensors: Any) -> dict[str, np.ndarray]:
    return {
        name: strings(value) if isinstance(value, str) else np.array([value])
        for name, value in tensors.items()
    }


def test_tritons_own_tensors_unstreamed_begin_with_the_prompt() -> None:
    plain = read_plain_request(ask(text_input="Say", return_num_output_tokens=True), "{}")
    answer = Answer(plain)
    assert answer.write(Delta([Part(text=" a", token_ids=[1])])) is None
    tensors = answer.write(Delta([Part(text=" b", token_ids=[2, 3], finish_reason="stop")]))
    assert tensors is not None
    assert list(tensors["text_output"]) == [b"Say a b"]
    assert list(tensors["num_output_tokens"]) == [3]
    assert set(tensors) == {"text_output", "num_output_tokens"}


def test_tritons_own_tensors_streamed_are_deltas() -> None:
    tensors = ask(text_input="Say", stream=True, return_finish_reason=True, return_logprobs=True)
    answer = Answer(read_plain_request(tensors, "{}"))
    arrays = answer.write(Delta([Part(text=" a", token_ids=[1])]))
    assert arrays is not None
    assert list(arrays["text_output"]) == [b" a"]
    assert list(arrays["finish_reason"]) == [b"None"]
    assert list(arrays["logprobs"]) == [b"null"]


def test_sampling_may_come_as_request_parameters() -> None:
    given_as = '{"temperature": 0, "triton_enable_empty_final_response": true}'
    assert read_plain_request(ask(text_input="x"), given_as).sampling == {"temperature": 0}


@pytest.mark.parametrize("name", ["structured_outputs", "guided_decoding"])
def test_what_an_answer_must_match_may_be_text_as_in_tritons_backend(name: str) -> None:
    guide = {"regex": "[a-z]+"}
    for value in (guide, json.dumps(guide)):
        given = json.dumps({"temperature": 0, name: value})
        sampling = read_plain_request(ask(text_input="x"), given).sampling
        assert sampling == {"temperature": 0, "structured_outputs": guide}
    for wrong, problem in (("{", "is not valid JSON"), ("[]", "must be a JSON object")):
        with pytest.raises(InvalidInput, match=f"'{name}' {problem}"):
            read_plain_request(ask(text_input="x"), json.dumps({name: wrong}))


def test_a_stream_never_repeats_its_prompt() -> None:
    with pytest.raises(InvalidInput, match="never repeats"):
        read_plain_request(ask(text_input="x", stream=True, exclude_input_in_output=False), "{}")


def test_control_characters_are_kept_out_of_bounded_strings() -> None:
    spelled = {0: "a", 1: "\x07", 2: "\n", 3: "\t x", 4: "\n\n"}
    vocabulary = Vocabulary(spelled.get, {}, byte_level=False)
    kept = ControlCharacters(vocabulary, 5)
    assert kept.token_ids == [1, 3]
    bounded = {"json": {"properties": {"a": {"type": "string", "maxLength": 3}}}}
    mended = kept.excluded({"structured_outputs": bounded, "logit_bias": {"0": 5, "1": 5}})
    assert mended["logit_bias"] == {"0": 5, "1": -100.0, "3": -100.0}
    wrong = {"structured_outputs": bounded, "logit_bias": [0]}
    assert kept.excluded(wrong) is wrong  # the sampler refuses it
    free = {"structured_outputs": {"json": '{"type": "object"}'}, "temperature": 0}
    assert kept.excluded(free) is free


def test_equal_completions_are_told_of_each() -> None:
    vocabulary = Vocabulary(spell, {4: "<end>"}, byte_level=True)
    events = EventWriter(vocabulary, prompt_tokens=7, count=1, top=0, sent_prompt=[5], copies=3)
    written = events.write(Delta([Part(text=" hi", token_ids=[1])]))
    written += events.write(Delta([Part(token_ids=[4], finish_reason="stop")]))
    for index in range(3):
        first, last = (event for event in written if event["index"] == index)
        assert (first["text"], last["finish_reason"]) == (" hi", "stop")
        assert last["usage"]["completion_tokens"] == 2
        assert first.get("prompt_token_ids") == ([5] if index == 0 else None)
    assert events.abort() == []
    assert len(EventWriter(vocabulary, 7, 1, 0, copies=2).abort()) == 2


def test_calls_of_equal_completions_have_ids_of_their_own() -> None:
    calls = [{"index": 0, "id": "c", "name": "f", "arguments": "{"}, {"index": 0, "arguments": "}"}]
    copies = [_copy({"index": 0, "tool_calls": calls}, number) for number in range(3)]
    assert [copy["tool_calls"][0]["id"] for copy in copies] == ["c", "c-1", "c-2"]
    assert all(copy["tool_calls"][1] == calls[1] for copy in copies)
