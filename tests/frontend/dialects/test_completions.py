"""Completions: many prompts, echo, scoring, best_of."""

import json
from typing import Any

import pytest
from openai.types import Completion

from frontend.dialects.openai.completions import (
    CompletionAnswer,
    CompletionChunks,
    parse_completion,
)
from frontend.domain import Event, Usage
from frontend.errors import InvalidRequest


def parse(prompt: Any = "hi", **more: Any) -> Any:
    return parse_completion({"model": "m", "prompt": prompt, **more}, max_prompts=4)


def token(text: str, logprob: float = -1.0) -> dict[str, Any]:
    return {"token": text, "id": 1, "bytes": list(text.encode()), "logprob": logprob, "top": None}


def event(index: int, text: str, *, last: bool = False, **more: Any) -> Event:
    return Event(index, text, [1], "stop" if last else None, None, 2, 0, 1, **more)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a", [{"text": "a"}]),
        (["a", "b"], [{"text": "a"}, {"text": "b"}]),
        ([1, 2], [{"token_ids": [1, 2]}]),
        ([[1], [2, 3]], [{"token_ids": [1]}, {"token_ids": [2, 3]}]),
    ],
)
def test_every_form_of_prompt(prompt: Any, expected: list[dict[str, Any]]) -> None:
    assert [g.prompt for g in parse(prompt).generations] == expected


@pytest.mark.parametrize("prompt", [[], [1, "a"], [[]], {"a": 1}, 5, ["a"] * 5, [[1], "a"]])
def test_other_prompts_are_refused(prompt: Any) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse(prompt)
    assert refusal.value.param == "prompt"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"suffix": "x"}, "suffix"),
        ({"logprobs": 6}, "logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"max_completion_tokens": 5}, "max_completion_tokens"),
    ],
)
def test_refusals_name_the_field(more: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse(**more)
    assert refusal.value.param == param


def test_sixteen_tokens_unless_asked() -> None:
    assert parse().generations[0].sampling == {"max_tokens": 16}


def test_choices_come_in_prompt_order() -> None:
    call = parse(["a", "b"], n=2)
    answer = CompletionAnswer(call, "id", "m")
    for prompt, index in ((1, 1), (0, 1), (1, 0), (0, 0)):
        answer.add(prompt, event(index, f"{prompt}{index}", last=True))
    rendered = Completion.model_validate_json(answer.render(Usage(4, 0, 4)))
    assert [choice.text for choice in rendered.choices] == ["00", "01", "10", "11"]
    assert [choice.index for choice in rendered.choices] == [0, 1, 2, 3]


def test_best_of_keeps_the_likeliest() -> None:
    call = parse(n=1, best_of=3)
    assert call.generations[0].sampling["n"] == 3
    answer = CompletionAnswer(call, "id", "m")
    for index, logprob in enumerate((-2.0, -0.5, -1.0)):
        answer.add(0, event(index, str(index), last=True, logprobs=[token("t", logprob)]))
    (choice,) = json.loads(answer.render(Usage()))["choices"]
    assert choice["text"] == "1"
    assert choice["logprobs"] is None


def test_scoring_a_prompt_leaves_the_one_token_out() -> None:
    call = parse("ab", echo=True, max_tokens=0, logprobs=1)
    assert call.generations[0].sampling == {"max_tokens": 1, "logprobs": 1, "prompt_logprobs": 1}
    scored = event(
        0,
        "!",
        last=True,
        logprobs=[token("!")],
        prompt_logprobs=[None, token("b", -3.0)],
        prompt_token_ids=[5, 6],
    )
    answer = CompletionAnswer(call, "id", "m")
    answer.add(0, scored)
    body = json.loads(answer.render(Usage(2, 0, 1)))
    (choice,) = body["choices"]
    assert choice["text"] == "ab"
    assert choice["logprobs"]["token_logprobs"] == [None, -3.0]
    assert body["usage"]["completion_tokens"] == 0


def test_a_stream_echoes_once_and_counts_offsets() -> None:
    call = parse("ab", echo=True, stream=True, logprobs=0)
    chunks = CompletionChunks(call, "id", "m")
    first = event(
        0, "c", logprobs=[token("c")], prompt_logprobs=[token("a"), token("b")],
        prompt_token_ids=[1, 2],
    )  # fmt: skip
    parts = [json.loads(chunks.chunk(0, e)[6:]) for e in (first, event(0, "d", last=True))]
    assert [part["choices"][0]["text"] for part in parts] == ["abc", "d"]
    assert parts[0]["choices"][0]["logprobs"]["text_offset"] == [0, 1, 2]
    assert parts[1]["choices"][0]["finish_reason"] == "stop"
