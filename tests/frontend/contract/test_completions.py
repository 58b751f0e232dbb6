"""Completions through the official SDK, the gateway process and the real Triton."""

import json

import pytest
from openai import OpenAI


def test_many_prompts_come_back_in_order(client: OpenAI) -> None:
    prompts = [f"prompt {number}" for number in range(40)]
    answer = client.completions.create(model="echo", prompt=prompts, n=2, temperature=1)
    assert [choice.text for choice in answer.choices] == [p for p in prompts for _ in range(2)]
    assert [choice.index for choice in answer.choices] == list(range(80))
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (80, 160)


def test_a_stream_of_many_prompts_joins(client: OpenAI) -> None:
    prompts = ["one two", "three four five"]
    texts = ["", ""]
    for chunk in client.completions.create(model="echo", prompt=prompts, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == prompts


def test_token_ids_are_prompts(client: OpenAI) -> None:
    assert client.completions.create(model="echo", prompt=[5, 6]).choices[0].text == "5 6"
    answer = client.completions.create(model="echo", prompt=[[5, 6], [7]])
    assert [choice.text for choice in answer.choices] == ["5 6", "7"]


def test_echo_puts_the_prompt_in_front(client: OpenAI) -> None:
    answer = client.completions.create(model="echo", prompt="a b", echo=True)
    assert answer.choices[0].text == "a ba b"


def test_sixteen_tokens_unless_asked(client: OpenAI) -> None:
    script = json.dumps({"chunks": 30})
    answer = client.completions.create(model="echo", prompt=script)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 16
    assert answer.choices[0].finish_reason == "length"


def test_one_failing_prompt_fails_the_request(client: OpenAI) -> None:
    failing = json.dumps({"fail_after": 0, "error": {"status": 400, "message": "no", "code": "c"}})
    with pytest.raises(Exception, match="no") as refusal:
        client.completions.create(model="echo", prompt=["fine", failing, "fine"])
    assert getattr(refusal.value, "status_code", None) == 400
