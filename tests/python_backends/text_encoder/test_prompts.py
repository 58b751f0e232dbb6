"""Prompts become rows of equal length."""

import pytest

from python_backends.errors import InvalidInput
from python_backends.text_encoder.prompts import PromptTokenizer


def test_prompts_are_padded_or_refused() -> None:
    tokenizer = PromptTokenizer(lambda text: [1, *map(len, text.split()), 2], pad_id=9, length=4)
    assert tokenizer.pair("", "a bb").tolist() == [[1, 2, 9, 9], [1, 1, 2, 2]]
    with pytest.raises(InvalidInput) as caught:
        tokenizer.pair("a b c", "a")
    assert caught.value.param == "negative_prompt"
