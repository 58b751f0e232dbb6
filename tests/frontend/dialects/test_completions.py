"""Completions: many prompts, echo, scoring, best_of; a stream joins to the unary answer."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion

from frontend.dialects.openai.completion_answers import CompletionAnswer, CompletionChunks
from frontend.dialects.openai.completions import CompletionCall, parse_completion
from frontend.domain.usage import UsageCount
from frontend.upstreams.triton.contract import write_prompt, write_reply, write_sampling
from tests.support.bodies import refused, sse
from tests.support.events import event, replies, token


def parse(**fields: Any) -> CompletionCall:
    return parse_completion({"model": "m", "prompt": "once", **fields}, 10)


def refusal(**fields: Any) -> str | None:
    return refused(parse_completion, {"model": "m", "prompt": "once", **fields}, 10).param


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a", [{"text": "a"}]),
        (["a", "b"], [{"text": "a"}, {"text": "b"}]),
        ([1, 2], [{"token_ids": [1, 2]}]),
        ([[1], [2, 3]], [{"token_ids": [1]}, {"token_ids": [2, 3]}]),
    ],
)
def test_every_form_of_prompt(prompt: Any, prompts: list[Any]) -> None:
    assert [write_prompt(one) for one in parse(prompt=prompt).generations] == prompts


@pytest.mark.parametrize(
    "prompt",
    [None, 5, [], ["a", 1], [[1], "a"], [["a"]], [[]], [-1], [2**31], ["a"] * 11, {"text": "a"}],
)
def test_other_prompts_are_refused(prompt: Any) -> None:
    assert refusal(prompt=prompt) == "prompt"


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1, "echo": True}, "max_tokens"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"messages": []}, "messages"),
        ({"tools": []}, "tools"),
        ({"max_completion_tokens": 5}, "max_completion_tokens"),
    ],
)
def test_parameters_that_cannot_be_honoured(given: dict[str, Any], param: str) -> None:
    assert refusal(**given) == param


@given(st.text(min_size=1))
def test_every_unknown_field_is_refused(name: str) -> None:
    body = {"model": "m", "prompt": "x", f"x_{name}": 1}
    assert refused(parse_completion, body, 10).code == "unknown_parameter"


def test_what_the_engine_is_asked_for() -> None:
    assert write_sampling(parse().generations[0]) == {"max_tokens": 16}
    asked = write_sampling(parse(echo=True, max_tokens=0, logprobs=2).generations[0])
    assert asked == {"max_tokens": 1, "logprobs": 2, "prompt_logprobs": 2}
    assert write_sampling(parse(n=2, best_of=4).generations[0]) == {
        "n": 4,
        "max_tokens": 16,
        "logprobs": 0,
    }
    assert write_sampling(parse(prompt=[1, 2], echo=True).generations[0])["prompt_logprobs"] == 0
    assert (
        write_prompt(parse(add_special_tokens=False).generations[0])["add_special_tokens"] is False
    )


def both_ways(body: dict[str, Any], events: list[Any]) -> tuple[dict[str, Any], list[Any]]:
    """The unary answer and the chunks for the same events, each (prompt number, event)."""
    call = parse(**body)
    answer = CompletionAnswer(call, "1", "m")
    chunks, count = CompletionChunks(call, "1", "m"), UsageCount()
    streamed = []
    for prompt, one in events:
        count.see(prompt, one)
        answer.add(prompt, one)
        streamed.append(chunks.chunk(prompt, one))
    streamed.append(chunks.last(count.total if call.stream_options.usage else None))
    return orjson.loads(answer.render(count.total)), sse(b"".join(streamed))


def joined(chunks: list[Any], index: int) -> dict[str, Any]:
    """The chunks of one choice as the choice of a unary answer."""
    mine = [c["choices"][0] for c in chunks if c["choices"] and c["choices"][0]["index"] == index]
    columns: dict[str, list[Any]] = {}
    for one in mine:
        for name, values in (one["logprobs"] or {}).items():
            columns.setdefault(name, []).extend(values)
    return {
        "index": index,
        "text": "".join(one["text"] for one in mine),
        "logprobs": columns or None,
        "finish_reason": mine[-1]["finish_reason"],
    }


@given(st.data(), st.integers(1, 2), st.booleans(), st.booleans())
def test_a_stream_joins_to_the_unary_answer(
    data: st.DataObject, n: int, echo: bool, logprobs: bool
) -> None:
    events: list[Any] = []
    for prompt in range(2):
        sent = data.draw(replies(n))
        if echo and logprobs:
            sent[0].prompt_token_ids = [1, 2]
            sent[0].prompt_logprobs = [None, token("ce")]
        events += [(prompt, one) for one in sent]
    body: dict[str, Any] = {"prompt": ["a", "b"], "n": n, "echo": echo, "stream": True}
    body |= {"stream_options": {"include_usage": True}} | ({"logprobs": 2} if logprobs else {})
    unary, chunks = both_ways(body, events)
    if not (echo and logprobs):  # the SDK's types lack the null of an echoed prompt's first token
        Completion.model_validate(unary)
    assert chunks[-1]["usage"] == unary["usage"]
    for choice in unary["choices"]:
        assert joined(chunks, choice["index"]) == choice


def test_choices_come_in_the_order_of_the_prompts() -> None:
    order = [(1, 1), (0, 1), (1, 0), (0, 0)]
    events = [(prompt, event(f"{prompt}{index}", index, "stop")) for prompt, index in order]
    unary, _ = both_ways({"prompt": ["a", "b"], "n": 2}, events)
    assert [choice["text"] for choice in unary["choices"]] == ["00", "01", "10", "11"]
    assert [choice["index"] for choice in unary["choices"]] == [0, 1, 2, 3]
    assert unary["usage"]["prompt_tokens"] == 6
    assert unary["usage"]["completion_tokens"] == 4


def test_best_of_keeps_the_likeliest_per_token() -> None:
    events = [
        (0, event(text, index, "stop", logprobs=[token(text, logprob)]))
        for index, (text, logprob) in enumerate([("bad", -3.0), ("best", -0.1), ("good", -1.0)])
    ]
    unary, _ = both_ways({"best_of": 3, "n": 2}, events)
    assert [choice["text"] for choice in unary["choices"]] == ["best", "good"]
    assert [choice["index"] for choice in unary["choices"]] == [0, 1]
    assert unary["choices"][0]["logprobs"] is None
    assert unary["usage"]["completion_tokens"] == 3, "all that were drawn are paid for"


def test_scoring_a_prompt_leaves_out_what_was_generated() -> None:
    first = event(
        "x",
        finish="length",
        logprobs=[token("x")],
        prompt_token_ids=[5, 6],
        prompt_logprobs=[None, token("ce", -2.0, top=1)],
    )
    unary, chunks = both_ways({"echo": True, "max_tokens": 0, "logprobs": 1}, [(0, first)])
    (choice,) = unary["choices"]
    assert choice["text"] == "once"
    assert choice["finish_reason"] == "length"
    assert choice["logprobs"]["token_logprobs"] == [None, -2.0]
    assert choice["logprobs"]["top_logprobs"] == [None, {"<0>": -0.1, "ce": -2.0}]
    assert unary["usage"]["completion_tokens"] == 0
    assert joined(chunks, 0) == choice


def test_echoed_token_ids_are_shown_as_text() -> None:
    known = [token("on"), token("\ufffd") | {"bytes": [0xC3]}, token("\ufffd") | {"bytes": [0xA9]}]
    first = event("!", finish="stop", prompt_token_ids=[1, 2, 3], prompt_logprobs=known)
    unary, _ = both_ways({"prompt": [1, 2, 3], "echo": True}, [(0, first)])
    assert unary["choices"][0]["text"] == "oné!"
    assert unary["choices"][0]["logprobs"] is None


def test_a_stream_echoes_once_and_counts_offsets() -> None:
    prompt = [token("on"), token("ce")]
    prompt[0] |= {"logprob": None, "top": None}
    first = event("c", logprobs=[token("c")], prompt_token_ids=[1, 2], prompt_logprobs=prompt)
    events = [(0, first), (0, event("d", finish="stop", logprobs=[token("d")]))]
    _, chunks = both_ways({"echo": True, "stream": True, "logprobs": 0}, events)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [choice["text"] for choice in choices] == ["oncec", "d"]
    assert choices[0]["logprobs"]["text_offset"] == [0, 2, 4]
    assert choices[0]["logprobs"]["token_logprobs"] == [None, -0.5, -0.5]
    assert choices[1]["logprobs"]["text_offset"] == [5]


def test_every_completion_of_an_echoed_prompt_has_its_tokens() -> None:
    first = event("a", 0, "stop", prompt_token_ids=[1], prompt_logprobs=[token("once")])
    events = [(0, first), (0, event("b", 1, "stop"))]
    _, chunks = both_ways({"prompt": [1], "echo": True, "n": 2, "stream": True}, events)
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["oncea", "onceb"]


def test_a_suffix_reaches_the_prompt_and_ends_at_the_models_marks() -> None:
    body = {"model": "m", "prompt": ["a", "b"], "suffix": "z"}
    generations = parse_completion(body, 10).generations
    assert [write_prompt(g) for g in generations] == [
        {"text": "a", "suffix": "z"},
        {"text": "b", "suffix": "z"},
    ]
    assert {str(write_reply(g)) for g in generations} == {"{'infill': True}"}
    (plain,) = parse_completion({"model": "m", "prompt": "a", "suffix": ""}, 10).generations
    assert (write_prompt(plain), write_reply(plain)) == ({"text": "a"}, None)


@pytest.mark.parametrize("more", [{"prompt": [1, 2]}, {"echo": True}, {"suffix": 5}])
def test_suffixes_that_cannot_be_honoured(more: dict[str, Any]) -> None:
    body = {"model": "m", "prompt": "a", "suffix": "z", **more}
    assert refused(parse_completion, body, 10).param == "suffix"


def test_token_ids_come_beside_the_text_when_they_are_asked_for() -> None:
    events = [
        (0, event("a", token_ids=[5], prompt_token_ids=[1])),
        (1, event("b", token_ids=[6], prompt_token_ids=[2, 3])),
        (0, event("", finish="stop", token_ids=[7])),
        (1, event("", finish="stop", token_ids=[])),
    ]
    asked = {"prompt": ["x", "y"], "return_token_ids": True}
    assert write_reply(parse(**asked).generations[0]) == {"raw": True, "prompt_token_ids": True}
    unary, chunks = both_ways(asked, events)
    assert [one["token_ids"] for one in unary["choices"]] == [[5, 7], [6]]
    assert [one["prompt_token_ids"] for one in unary["choices"]] == [[1], [2, 3]]
    told: dict[int, list[int]] = {0: [], 1: []}
    for chunk in chunks:
        for choice in chunk["choices"]:
            told[choice["index"]] += choice.get("token_ids") or []
    assert told == {0: [5, 7], 1: [6]}
