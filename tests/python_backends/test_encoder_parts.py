"""Texts become rows, rows become groups; nothing is lost or mixed up."""

from itertools import chain, combinations, pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from python_backends import onnx, triton
from python_backends.encoder import model as encoder
from python_backends.encoder.grouping import RUN_TOKENS, Row, group, run_group, trim
from python_backends.errors import InvalidInput
from python_backends.tokenize import padding
from python_backends.tokenize.padding import pad
from python_backends.tokenize.texts import TextTokenizer
from tests.support.fakes import FakeRequest, FakeStub, strings

TENSORS = ("input_ids", "attention_mask")
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


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=39), min_size=1, max_size=5),
    st.integers(1, 50),
)
def test_padding_to_a_multiple_ends_at_the_models_last_position(
    texts: list[list[int]], multiple: int
) -> None:
    width = pad([padding.Row(ids) for ids in texts], multiple, most=39)["input_ids"].shape[1]
    longest = max(map(len, texts))
    assert width == 39 or width % multiple == 0
    assert longest <= width < longest + multiple


class Picky:
    """A graph that fails whenever a row holds a certain id."""

    outputs = ("embedding",)

    def run(self, feeds: dict[str, Any]) -> dict[str, Any]:
        if (feeds["input_ids"] == 13).any():
            raise RuntimeError("indices element out of data bounds")
        return {"embedding": feeds["input_ids"].sum(axis=1, keepdims=True).astype(np.float32)}


def test_a_fault_of_one_text_fails_no_other_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "backend", FakeStub)
    step = object.__new__(encoder.TritonPythonModel)
    vars(step).update(_graph=Picky(), _budget=1000, _output="embedding")
    texts: list[list[list[int]]] = [[[1, 2]], [[3, 4], [5, 13]], [[6, 7], [8]], [[13, 9]], [[2]]]
    requests = []
    for rows_of in texts:
        arrays = pad([padding.Row(ids) for ids in rows_of])
        requests.append(FakeRequest({name: arrays[name] for name in TENSORS}))
    answers: Any = step.execute(requests)
    assert [answer.error is not None for answer in answers] == [False, True, False, True, False]
    found = [a.arrays()["embedding"].reshape(-1).tolist() for a in answers if a.error is None]
    assert found == [[3], [13, 8], [2]]
    assert all("out of data bounds" in a.error.message for a in answers if a.error)


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
