"""The default language model through the official SDK: vLLM inside the real Triton."""

import asyncio
import re
import time
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.e2e.conftest import CHAT
from tests.support.processes import Service, wait_for

QUESTION: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "What is the capital of France?"}
]


def test_the_capital_of_france(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=CHAT, messages=QUESTION, temperature=0)
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens > 10


def test_an_alias_names_the_same_model(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="smollm2", messages=QUESTION, temperature=0, max_tokens=16
    )
    assert "Paris" in (answer.choices[0].message.content or "")


def test_pieces_join_to_the_unary_answer(client: OpenAI) -> None:
    unary = client.chat.completions.create(
        model=CHAT, messages=QUESTION, temperature=0, max_tokens=48
    )
    stream = client.chat.completions.create(
        model=CHAT,
        messages=QUESTION,
        temperature=0,
        max_tokens=48,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    pieces = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(pieces) == unary.choices[0].message.content
    assert sum(bool(piece) for piece in pieces) >= 2
    assert chunks[-1].choices == []
    assert chunks[-1].usage == unary.usage
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == (
        unary.choices[0].finish_reason
    )


def test_length_is_a_finish_reason(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=CHAT, messages=QUESTION, max_tokens=3)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_completions_continue_text(client: OpenAI) -> None:
    answer = client.completions.create(
        model=CHAT, prompt="The capital of France is", temperature=0, max_tokens=8
    )
    assert "Paris" in answer.choices[0].text


def test_a_prompt_beyond_the_context_is_refused_by_name(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as refusal:
        client.chat.completions.create(
            model=CHAT, messages=[{"role": "user", "content": "word " * 5000}]
        )
    assert refusal.value.code == "context_length_exceeded"
    assert "2048" in refusal.value.message


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as refusal:
        client.chat.completions.create(model="gpt-nothing", messages=QUESTION)
    assert refusal.value.code == "model_not_found"


async def test_sixteen_streams_at_once(service: Service) -> None:
    async with AsyncOpenAI(base_url=f"{service.url}/v1", api_key="unused") as client:

        async def one(number: int) -> tuple[str, str | None]:
            stream = await client.chat.completions.create(
                model=CHAT,
                messages=[{"role": "user", "content": f"Count to {number + 2}."}],
                temperature=0,
                max_tokens=24,
                stream=True,
            )
            text, reason = "", None
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""
                reason = chunk.choices[0].finish_reason or reason
            return text, reason

        answers = await asyncio.gather(*(one(number) for number in range(16)))
    assert all(text for text, _ in answers)
    assert all(reason in ("stop", "length") for _, reason in answers)
    assert len({text for text, _ in answers}) > 4, "streams were mixed up or ignored their prompt"


def test_the_engine_stops_when_the_client_goes_away(client: OpenAI, service: Service) -> None:
    stream = client.completions.create(
        model=CHAT,
        prompt="Once upon a time",
        max_tokens=1900,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    chunk = next(chunk for number, chunk in enumerate(stream) if number == 5)
    request_id = chunk.id.removeprefix("cmpl-")
    gone_s = time.time()
    stream.close()
    stopped = re.compile(
        rf"^I\d{{4}} \d\d:(\d\d):(\S+) .*request '\S+/{request_id}' cancelled and stopped", re.M
    )
    wait_for(lambda: stopped.search(service.triton_log), what="the engine's stop")
    stop = stopped.search(service.triton_log)
    assert stop is not None
    # minutes and seconds alone, as the log's time zone may be another; the wait was 10 s at most
    took_s = (int(stop[1]) * 60 + float(stop[2]) - gone_s) % 900
    # 12 ms on an idle machine; the 1,900 tokens would take a minute
    assert took_s < 5


def test_log_probabilities_join_to_the_content(client: OpenAI) -> None:
    cases: list[dict[str, Any]] = [{}, {"max_tokens": 7}, {"stop": ["ris"]}, {"stop": ["is P"]}]
    for options in cases:
        answer = client.chat.completions.create(
            model=CHAT, messages=QUESTION, temperature=0, logprobs=True, top_logprobs=1, **options
        )
        choice = answer.choices[0]
        assert choice.logprobs is not None
        tokens = choice.logprobs.content or []
        assert "".join(token.token for token in tokens) == choice.message.content
        spelled = b"".join(bytes(token.bytes or []) for token in tokens)
        assert spelled.decode() == choice.message.content


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_without_chance_are_equal(client: OpenAI, stream: bool) -> None:
    asked: dict[str, Any] = {"model": CHAT, "messages": QUESTION, "max_tokens": 12}
    single: Any = client.chat.completions.create(**asked, temperature=0)
    one = single.choices[0].message.content
    texts = ["", "", ""]
    answer: Any = client.chat.completions.create(**asked, temperature=0, n=3, stream=stream)
    if stream:
        for chunk in answer:
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
    else:
        texts = [choice.message.content for choice in answer.choices]
        assert answer.usage.completion_tokens == 3 * single.usage.completion_tokens
    assert texts == [one] * 3
    best = client.completions.create(
        model=CHAT, prompt="The capital of France is", temperature=0, max_tokens=4, best_of=2
    )
    assert len(best.choices) == 1


def test_token_ids_are_those_of_the_engine(client: OpenAI) -> None:
    answer: Any = client.chat.completions.create(
        model=CHAT, messages=QUESTION, max_tokens=8, temperature=0,
        extra_body={"return_token_ids": True},
    )  # fmt: skip
    assert len(answer.prompt_token_ids) == answer.usage.prompt_tokens
    assert len(answer.choices[0].token_ids) == answer.usage.completion_tokens
    again: Any = client.completions.create(
        model=CHAT, prompt=answer.prompt_token_ids, max_tokens=8, temperature=0,
        extra_body={"return_token_ids": True},
    )  # fmt: skip
    assert again.choices[0].prompt_token_ids == answer.prompt_token_ids
    assert again.choices[0].token_ids == answer.choices[0].token_ids
