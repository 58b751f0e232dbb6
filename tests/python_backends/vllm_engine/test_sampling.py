"""Sampling parameters are honoured or refused by name."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from python_backends.errors import InvalidInput
from python_backends.vllm_engine.sampling import Sampler, refusal

SAMPLER = Sampler(
    names=frozenset({"temperature", "top_p", "max_tokens", "priority", "structured_outputs"}),
    context_length=100,
    convert=lambda values: values,
    defaults={"temperature": 0.7},
)


@given(st.integers(1, 99), st.none() | st.integers(1, 100))
def test_a_reply_fits_into_the_context(prompt_tokens: int, asked: int | None) -> None:
    values = SAMPLER.read({"max_tokens": asked}, prompt_tokens).params
    assert values["max_tokens"] == min(asked or 100, 100 - prompt_tokens)


def test_the_models_defaults_give_way() -> None:
    assert SAMPLER.read({}, 1).params["temperature"] == 0.7
    assert SAMPLER.read({"temperature": None}, 1).params["temperature"] == 0.7
    assert SAMPLER.read({"temperature": 0}, 1).params["temperature"] == 0


@pytest.mark.parametrize(
    ("fields", "n", "copies"),
    [
        ({"n": 3, "temperature": 0}, 1, 3),
        ({"n": 3, "temperature": 1e-6}, 1, 3),
        ({"n": 3, "temperature": 0.5}, 3, 1),
        ({"n": 3}, 3, 1),
        ({"n": 1, "temperature": 0}, 1, 1),
        ({"n": 10**9, "temperature": 0}, 10**9, 1),
        ({"n": True, "temperature": 0}, True, 1),
        ({"temperature": 0}, None, 1),
    ],
)
def test_completions_without_chance_are_made_once(
    fields: dict[str, Any], n: int | None, copies: int
) -> None:
    sampler = replace(SAMPLER, names=SAMPLER.names | {"n"})
    sampling = sampler.read(fields, 1)
    assert (sampling.params.get("n"), sampling.copies) == (n, copies)


def test_a_request_may_want_less_context() -> None:
    assert SAMPLER.read({}, 10, 40).params["max_tokens"] == 30
    assert SAMPLER.read({"max_tokens": 5}, 10, 40).params["max_tokens"] == 5
    assert SAMPLER.read({}, 10, 400).params["max_tokens"] == 90
    with pytest.raises(InvalidInput):
        SAMPLER.read({}, 40, 40)


def test_a_full_context_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        SAMPLER.read({}, 100)
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"temprature": 1}, "temprature", "did you mean 'temperature'"),
        ({"zzzz": 1}, "zzzz", "known: max_tokens"),
        ({"max_tokens": 101}, "max_tokens", "context of 100"),
        ({"priority": "high"}, "priority", "must be an integer"),
        ({"structured_outputs": {"jsn": {}}}, "structured_outputs.jsn", "structured_outputs.json"),
        ({"structured_outputs": {"_backend": "x"}}, "structured_outputs._backend", "unknown"),
    ],
)
def test_refusals_name_the_parameter(fields: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        SAMPLER.read(fields, 1)
    assert caught.value.param == param


def test_priority_goes_its_own_way() -> None:
    sampling = SAMPLER.read({"priority": -3}, 1)
    assert sampling.priority == -3
    assert "priority" not in sampling.params


class ComplaintError(ValueError):
    parameter: str | None = None


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("Expected `float`, got `str` - at `$.temperature`", "temperature"),
        ("Expected `str`, got `int` - at `$.stop[0]`", "stop"),
        ("presence_penalty must be in [-2, 2], got 3.", "presence_penalty"),
        ("stop cannot contain an empty string.", "stop"),
        ("Something else went wrong", None),
    ],
)
def test_the_engines_complaints_name_the_parameter(message: str, param: str | None) -> None:
    assert refusal(ComplaintError(message)).param == param


def test_a_named_complaint_is_believed() -> None:
    complaint = ComplaintError("must be lower")
    complaint.parameter = "top_p"
    assert refusal(complaint).param == "top_p"


def test_long_names_are_neither_compared_nor_sent_back() -> None:
    with pytest.raises(InvalidInput, match="unknown sampling parameter 'temp") as caught:
        SAMPLER.read({"temp" * 1_000_000: 1}, 1)
    assert len(str(caught.value)) < 2000


def test_what_the_engine_says_of_a_long_value_is_cut() -> None:
    ids = list(range(100_000))
    error = refusal(ValueError(f"token_id(s) {ids} in logit_bias contain out-of-vocab token ids."))
    assert len(error.message) <= 500
