"""Answers that are not what `response_format` asks for, through the official SDK."""

import pytest
from openai import APIError, InternalServerError, OpenAI

from tests.frontend.conftest import script


def test_a_wrong_answer_is_an_error_and_no_answer(client: OpenAI) -> None:
    with pytest.raises(InternalServerError) as caught:
        client.chat.completions.create(
            model="echo", messages=script(text="{nope"), response_format={"type": "json_object"}
        )
    assert caught.value.status_code == 502
    assert caught.value.code == "invalid_structured_output"


def test_a_stream_ends_with_the_error_in_place_of_its_finish(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="echo",
        messages=script(text="{nope at all", chunks=3),
        response_format={"type": "json_object"},
        stream=True,
    )
    finished = []

    def read() -> None:
        for chunk in stream:
            finished.extend(choice.finish_reason for choice in chunk.choices)

    with pytest.raises(APIError, match="response_format"):
        read()
    assert finished
    assert set(finished) == {None}


def test_an_answer_that_was_cut_is_the_clients_to_judge(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="echo",
        messages=script(text='{"a": 1}', chunks=4),
        response_format={"type": "json_object"},
        max_tokens=2,
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content == '{"a"'
