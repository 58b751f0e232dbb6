"""Chat through the official SDK, the gateway process and the real Triton."""

import json
from typing import Any

import pytest
from openai import OpenAI

from tests.support.echo import script


def test_an_answer_has_the_engines_words_and_counts(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": "one two three"}]
    )
    assert answer.object == "chat.completion"
    assert answer.model == "echo"
    (choice,) = answer.choices
    assert choice.message.content == "one two three"
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 3)


def test_every_parameter_reaches_the_engine(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="echo",
        messages=script(echo=True),
        temperature=0.5,
        top_p=0.9,
        seed=3,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        logit_bias={"5": 1},
        max_completion_tokens=500,
        response_format={"type": "json_object"},
        extra_body={"top_k": 4, "min_p": 0.05, "chat_template_kwargs": {"a": 1}},
    )
    received = json.loads(answer.choices[0].message.content or "")
    assert received["prompt"] == {"messages": script(echo=True), "chat_template_kwargs": {"a": 1}}
    assert received["sampling_parameters"] == {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 3,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "logit_bias": {"5": 1},
        "max_tokens": 500,
        "top_k": 4,
        "min_p": 0.05,
        "structured_outputs": {"json_object": True},
    }


@pytest.mark.parametrize("joined", [1, 4])
def test_a_stream_joins_to_the_unary_answer(client: OpenAI, joined: int) -> None:
    asked: dict[str, Any] = {
        "model": "echo",
        "messages": script(text="Zwölf Boxkämpfer jagen 🦊 im Moor", events_per_response=joined),
        "n": 2,
        "logprobs": True,
        "top_logprobs": 2,
    }
    unary = client.chat.completions.create(**asked)
    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[-1].usage == unary.usage
    assert chunks[-1].choices == []
    for choice in unary.choices:
        mine = [c.choices[0] for c in chunks if c.choices and c.choices[0].index == choice.index]
        assert mine[0].delta.role == "assistant"
        assert "".join(one.delta.content or "" for one in mine) == choice.message.content
        assert mine[-1].finish_reason == choice.finish_reason == "stop"
        tokens = [t for one in mine if one.logprobs for t in one.logprobs.content or []]
        assert choice.logprobs is not None
        assert tokens == choice.logprobs.content


def test_limits_and_stops_are_finish_reasons(client: OpenAI) -> None:
    def reason(**more: Any) -> str:
        messages = script(text="a b c d")
        answer = client.chat.completions.create(model="echo", messages=messages, **more)
        return str(answer.choices[0].finish_reason)

    assert reason(max_tokens=2) == "length"
    assert reason(stop="c") == "stop"


def test_usage_only_when_asked_for(client: OpenAI) -> None:
    stream = client.chat.completions.create(model="echo", messages=script(text="a"), stream=True)
    chunks = list(stream)
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
