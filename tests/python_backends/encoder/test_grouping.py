"""Rows become groups; nothing is lost or mixed up."""

from itertools import chain, combinations, pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from python_backends import triton
from python_backends.encoder import model as encoder
from python_backends.encoder.grouping import RUN_TOKENS, Row, group, run_group, trim
from python_backends.tokenize import padding
from python_backends.tokenize.padding import pad
from tests.support.fakes import FakeRequest, FakeStub

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
    odd = [np.zeros((1, 0), dtype=np.int64), np.zeros((0, 2), dtype=np.int64)]
    requests[1:4] = [FakeRequest(dict.fromkeys(TENSORS, each)) for each in odd]
    refused: Any = step.execute(requests)
    assert [answer.error is not None for answer in refused] == [False, True, True, False]
