"""Texts beyond what a model can read are refused by their bytes, by the name of their field."""

from dataclasses import replace
from typing import Any

import pytest

from frontend.domain.generation import Conversation, Generation, Passage, TokenIds
from frontend.domain.images import ImageRequest
from frontend.domain.messages import Image, Message, Text
from frontend.domain.models import Model
from frontend.domain.tools import Function, Tools
from frontend.domain.vectors import Embedding, Pairs
from frontend.errors import InvalidRequest
from frontend.generation.sizes import (
    check_embedding,
    check_generations,
    check_image,
    check_pairs,
)

MODEL = Model(
    name="small",
    kind="llm",
    aliases=(),
    capabilities=frozenset(),
    context_length=16,
    dimensions=None,
    image=None,
    owned_by="x",
    created_s=0,
    max_text_bytes=100,
)
LONG = "é" * 51
MUCH = 10**6


def refused(check: Any, *arguments: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        check(*arguments)
    assert caught.value.param
    return caught.value


def chat(*contents: Any, **fields: Any) -> Generation:
    messages = tuple(Message("user", content) for content in contents)
    return Generation(Conversation(messages), **fields)


def test_a_prompt_beyond_its_models_bytes_is_refused_with_the_bound() -> None:
    for generation, param in (
        (chat(LONG), "messages"),
        (chat("a" * 60, "b" * 60), "messages"),
        (chat((Image(), Text(LONG))), "messages"),
        (replace(chat(LONG), param="input"), "input"),
        (Generation(Passage(LONG), param="prompt"), "prompt"),
        (Generation(Passage("a" * 60, "b" * 60), param="prompt"), "prompt"),
    ):
        error = refused(check_generations, MODEL, [generation], MUCH)
        assert (error.param, error.code) == (param, "context_length_exceeded")
        assert "at most 100 bytes" in error.message


def test_what_fits_passes_and_thoughts_of_earlier_turns_do_not_count() -> None:
    thought = Message("assistant", "", reasoning=LONG)
    fitting = [chat("é" * 50), chat(""), Generation(Conversation((thought,)))]
    check_generations(MODEL, [*fitting, Generation(TokenIds([1] * 999))], MUCH)
    check_generations(replace(MODEL, max_text_bytes=None), [chat(LONG)], MUCH)


def test_the_texts_of_a_request_are_bounded_together() -> None:
    error = refused(check_generations, MODEL, [chat("a" * 50)] * 20, 1000)
    assert error.code == "request_too_large"
    functions = (Function("f", {}, "d" * 2000),)
    tools = Tools(functions, functions)
    assert refused(check_generations, MODEL, [chat("a", tools=tools)], 1000).param == "messages"
    assert refused(check_embedding, MODEL, Embedding(["a" * 50] * 21), 1000).param == "input"
    # a query that is in many pairs is sent many times
    pairs = Pairs(["q" * 90] * 20, ["d"] * 20)
    assert refused(check_pairs, MODEL, pairs, 1000).param == "documents"


def test_inputs_are_named_by_their_place_unless_they_may_be_cut() -> None:
    texts = ["a", LONG]
    assert refused(check_embedding, MODEL, Embedding(texts), MUCH).param == "input[1]"
    assert refused(check_embedding, MODEL, Embedding([LONG]), MUCH).param == "input"
    check_embedding(MODEL, Embedding(texts, truncate=True), MUCH)
    pairs = Pairs(["a", "a"], texts, params=("text_1", "text_2"))
    assert refused(check_pairs, MODEL, pairs, MUCH).param == "text_2[1]"
    cut = replace(pairs, truncate=True)
    check_pairs(MODEL, cut, MUCH)
    assert refused(check_pairs, MODEL, replace(cut, queries=texts), MUCH).param == "text_1"


def test_both_prompts_of_an_image_are_bounded() -> None:
    assert refused(check_image, MODEL, ImageRequest(LONG)).param == "prompt"
    assert refused(check_image, MODEL, ImageRequest("a", LONG)).param == "negative_prompt"
