"""Counts of servers that are broken or lie: a user never pays by a number that cannot be true."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.domain.events import Event
from frontend.domain.generation import Generation, Passage
from frontend.domain.sampling import Sampling
from frontend.errors import BackendFailed
from frontend.generation.counts import Counts, is_count_of
from tests.support.events import MODEL

PROMPT = "a prompt of thirty-five characters"
ANY = (
    st.integers(-(10**20), 10**20) | st.floats(allow_nan=True) | st.none() | st.booleans()
    | st.text(max_size=3) | st.just([])
)  # fmt: skip


def event(text: str = "a", *, said: Any = 1, index: int = 0, **more: Any) -> Event:
    more = {"prompt_tokens": 9, "cached_tokens": 0, **more}
    return Event(index, text, [], None, None, completion_tokens=said, **more)


def counts(context: int | None = 4096, **sampling: Any) -> Counts:
    model = replace(MODEL, context_length=context)
    return Counts(model, Generation(Passage(PROMPT), Sampling(**sampling)))


@given(prompt=ANY, cached=ANY, said=ANY, reasoning=ANY, most=st.none() | st.integers(1, 50))
def test_no_count_of_any_kind_is_charged_beyond_what_can_be(
    prompt: Any, cached: Any, said: Any, reasoning: Any, most: int | None
) -> None:
    checked = counts(max_tokens=most)
    for number in range(1, 4):
        one = event(
            said=said, prompt_tokens=prompt, cached_tokens=cached, reasoning_tokens=reasoning
        )
        checked.check(one)
        for count in (one.prompt_tokens, one.cached_tokens, one.completion_tokens):
            assert type(count) is int
        assert 0 <= one.cached_tokens <= one.prompt_tokens <= 4096
        assert one.prompt_tokens >= 1
        assert min(number, most or number) > 0 < one.completion_tokens <= (most or 4096)
        assert type(one.reasoning_tokens) is int
        assert 0 <= one.reasoning_tokens <= one.completion_tokens


@pytest.mark.parametrize("said", [0, -7, 10**18, math.nan, 2.5, "9", None, True])
def test_a_count_that_cannot_be_true_is_an_estimate(said: Any) -> None:
    checked = counts()
    for number in range(1, 6):
        one = event(said=said)
        checked.check(one)
        assert (one.completion_tokens, one.estimated) == (number, True)
    one = event(prompt_tokens=said)
    checked.check(one)
    assert one.prompt_tokens == round(len(PROMPT) / 3.5)
    assert one.estimated


def test_true_counts_stay_as_they_are() -> None:
    checked = counts(max_tokens=10, n=2)
    for index, said in ((0, 1), (1, 1), (0, 13), (1, 7)):
        one = event(said=said, index=index, cached_tokens=8)
        checked.check(one)
        assert (one.prompt_tokens, one.cached_tokens, one.completion_tokens) == (9, 8, said)
        assert not one.estimated
    # calls and reasoning have no text, and may not be counted yet
    one = event("", said=0, reasoning="hm")
    counts().check(one)
    assert (one.completion_tokens, one.estimated) == (0, False)
    # without a context length a server's own template may be long
    one = event(prompt_tokens=5000)
    counts(None).check(one)
    assert (one.prompt_tokens, one.estimated) == (5000, False)
    one = event(prompt_tokens=10**6)
    counts(None).check(one)
    assert one.estimated


def test_more_tokens_than_asked_for_are_not_charged() -> None:
    checked = counts(max_tokens=5)
    for _ in range(60):
        one = event(said=60)
        checked.check(one)
    assert one.completion_tokens == 5
    assert not checked.is_over
    for _ in range(20):
        checked.check(event(said=80))
    assert checked.is_over
    (last,) = checked.ends()
    assert (last.finish_reason, last.text, last.completion_tokens) == ("length", "", 5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": 5},
        {"index": "0"},
        {"index": -1},
        {"finish_reason": {}},
        {"reasoning": 1},
        {"tool_calls": [{"index": 0, "id": "x", "name": "f", "arguments": {}}]},
        {"tool_calls": [{"index": None, "id": "x", "name": "f", "arguments": ""}]},
    ],
)
def test_what_is_not_an_event_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BackendFailed):
        counts().check(replace(event(), **wrong))


def test_counts_of_texts() -> None:
    assert is_count_of(3, ["abc"], None)
    assert is_count_of(8, ["abc"], 8)
    assert not any(is_count_of(said, ["abc"], 8) for said in (0, -1, 10**9, math.nan, "3", None))
