"""Texts become rows of token ids: refused or cut when too long."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from python_backends.errors import InvalidInput
from python_backends.tokenize.texts import TextTokenizer
from tests.support.fakes import strings


class Words:
    """A tokenizer of words, with a token before and one after."""

    def encode_batch_fast(self, texts: list[str]) -> list[Any]:
        return [SimpleNamespace(ids=[101, *map(len, text.split()), 102]) for text in texts]

    def encode(self, text: str) -> Any:
        (row,) = self.encode_batch_fast([text])
        row.special_tokens_mask = [1, *([0] * len(text.split())), 1]
        return row

    def get_vocab_size(self, with_added_tokens: bool) -> int:
        return 200

    def num_special_tokens_to_add(self, pair: bool) -> int:
        return 2


def test_long_texts_are_refused_or_cut_before_the_last_special_token() -> None:
    tokenizer = TextTokenizer(Words(), context_length=4)
    text = {"text": strings("a bb", "a bb ccc dddd").reshape(-1, 1)}
    with pytest.raises(
        InvalidInput, match="input 1 has 6 tokens, more than the model's maximum of 4"
    ) as caught:
        tokenizer.read(text)
    assert caught.value.code == "context_length_exceeded"
    arrays = tokenizer.read({**text, "truncate": np.array([[True], [True]])})
    assert arrays["input_ids"].tolist() == [[101, 1, 2, 102], [101, 1, 2, 102]]


def test_given_ids_stand_for_their_text_when_they_are_the_tokenizers_own() -> None:
    tokenizer = TextTokenizer(Words(), context_length=4)
    texts = strings("a bb", "").reshape(-1, 1)
    rows = np.array([[-1, -1, -1], [101, 7, 102]], dtype=np.int32)
    arrays = tokenizer.read({"text": texts, "token_ids": rows})
    assert arrays["input_ids"].tolist() == [[101, 1, 2, 102], [101, 7, 102, 0]]
    for foreign in ([7, 7, 7], [101, 7, -1], [101, 200, 102]):
        given = np.array([[101, 102, -1], foreign], dtype=np.int32)
        with pytest.raises(InvalidInput, match=r"input 1 .*send text") as caught:
            tokenizer.read({"text": texts, "token_ids": given})
        assert (caught.value.code, caught.value.param) == ("invalid_token_ids", "input")


@pytest.mark.parametrize(
    ("template", "cut"),
    [("<s> $A </s>", [0, 5, 1]), ("$A </s>", [5, 5, 1]), ("<s> $A", [0, 5, 5]), ("$A", [5, 5, 5])],
)
def test_a_cut_text_keeps_what_its_tokenizer_puts_around_it(template: str, cut: list[int]) -> None:
    inner = Tokenizer(WordLevel({"<s>": 0, "</s>": 1, "a": 5, "[UNK]": 3}, "[UNK]"))
    inner.pre_tokenizer = WhitespaceSplit()
    special = [(name, place) for name, place in (("<s>", 0), ("</s>", 1)) if name in template]
    if special:
        inner.post_processor = TemplateProcessing(single=template, special_tokens=special)
    tokenizer = TextTokenizer(inner, context_length=3)
    texts = {"text": strings("a a a a a").reshape(-1, 1), "truncate": np.array([[True]])}
    assert tokenizer.read(texts)["input_ids"].tolist() == [cut]
    inner.enable_truncation(3)
    assert inner.encode("a a a a a").ids == cut
