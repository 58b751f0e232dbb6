"""Texts become rows, rows become groups; nothing is lost or mixed up."""

from itertools import chain, combinations, pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from python_backends import onnx
from python_backends.encoder.grouping import RUN_TOKENS, Row, group, run_group, trim
from python_backends.errors import InvalidInput
from python_backends.tokenize import padding
from python_backends.tokenize.padding import pad
from python_backends.tokenize.texts import TextTokenizer

from .fakes import strings

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=60)


def rows(lengths: list[int]) -> list[Row]:
    return [
        Row(number, 0, np.full(length, number + 1, dtype=np.int64))
        for number, length in enumerate(lengths)
    ]


@given(LENGTHS, st.integers(1, 2000))
def test_groups_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    groups = list(group(rows(lengths), budget))
    assert sorted(row.request for members in groups for row in members) == list(range(len(lengths)))
    for members in groups:
        padded = max(row.length for row in members) * len(members)
        assert len(members) == 1 or padded <= budget


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_no_other_cut_costs_less(lengths: list[int]) -> None:
    def cost(groups: list[list[int]]) -> int:
        return sum(max(each) * len(each) + RUN_TOKENS for each in groups)

    found = [[row.length for row in members] for members in group(rows(lengths), 10_000)]
    ordered, gaps = sorted(lengths), range(1, len(lengths))
    for cuts in chain.from_iterable(combinations(gaps, size) for size in range(len(lengths))):
        ends = [0, *cuts, len(lengths)]
        assert cost(found) <= cost([ordered[a:b] for a, b in pairwise(ends)])


@given(LENGTHS)
def test_a_group_is_padded_and_keeps_its_order(lengths: list[int]) -> None:
    def run(feeds: dict[str, Any]) -> dict[str, Any]:
        ids, mask = feeds["input_ids"], feeds["attention_mask"]
        assert ((ids != 0) == (mask == 1)).all()
        return {"embedding": ids.max(axis=1, keepdims=True)}

    members = rows(lengths)
    graph = SimpleNamespace(run=run, outputs=["embedding"])
    found = run_group(graph, members)  # type: ignore[arg-type]
    assert found.reshape(-1).tolist() == [row.request + 1 for row in members]


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=9), min_size=1, max_size=9))
def test_padding_comes_off_again(texts: list[list[int]]) -> None:
    arrays = pad([padding.Row(ids) for ids in texts])
    found = trim(3, arrays["input_ids"], arrays["attention_mask"])
    assert [row.ids.tolist() for row in found] == texts
    assert [row.place for row in found] == list(range(len(texts)))
    assert arrays["num_tokens"].reshape(-1).tolist() == [len(ids) for ids in texts]


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
    with pytest.raises(InvalidInput, match="input 1 has 6 tokens and the model takes 4") as caught:
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


def test_a_graphs_ports_are_compared_in_words() -> None:
    found = [SimpleNamespace(name="ids", type="tensor(int32)", shape=[1])]
    wanted = {"ids": (onnx.INT64, 2), "mask": (onnx.INT64, 2)}
    assert onnx.compare("input", found, wanted) == [
        "input 'mask' is missing",
        "input 'ids' is tensor(int32) of rank 1, not tensor(int64) of 2",
    ]
    either = {"ids": ("tensor(float)|tensor(int32)", 1)}
    assert onnx.compare("input", found, either) == []
