"""Embeddings: every bit of the vectors arrives, whichever encoding is asked for."""

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.dialects.openai.embeddings import (
    check_dimensions,
    check_ids,
    parse_embedding,
    render_embedding,
)
from frontend.domain.models import Input
from frontend.domain.vectors import Vectors
from tests.support.bodies import refused
from tests.support.events import MODEL

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(FLOATS, min_size=3, max_size=3), min_size=1, max_size=4))
def test_both_encodings_have_the_same_bits(rows: list[list[float]]) -> None:
    matrix = np.array(rows, dtype="<f4")
    vectors = Vectors(matrix.tobytes(), len(rows), 3, 7)
    texts = ["x"] * len(rows)
    plain = parse_embedding({"model": "m", "input": texts}, 10)
    coded = parse_embedding({"model": "m", "input": texts, "encoding_format": "base64"}, 10)
    floats = [d["embedding"] for d in orjson.loads(render_embedding(plain, vectors, "m"))["data"]]
    body = orjson.loads(render_embedding(coded, vectors, "m"))
    decoded = [base64.b64decode(one["embedding"]) for one in body["data"]]
    assert b"".join(decoded) == matrix.tobytes()
    assert np.array(floats, dtype="<f4").tobytes() == matrix.tobytes()
    assert [one["index"] for one in body["data"]] == list(range(len(rows)))
    assert body["usage"] == {"prompt_tokens": 7, "total_tokens": 7}


def test_inputs() -> None:
    assert parse_embedding({"model": "m", "input": "a"}, 10).embedding.texts == ["a"]
    assert parse_embedding({"model": "m", "input": ["a", "b"]}, 10).embedding.texts == ["a", "b"]
    call = parse_embedding({"model": "m", "input": "a", "truncate_prompt_tokens": -1}, 10)
    assert call.embedding.truncate
    for ids in ([1, 2], [[1, 2]]):
        assert parse_embedding({"model": "m", "input": ids}, 1).embedding.ids == [[1, 2]]


@pytest.mark.parametrize(
    "given",
    [
        *(None, [], 5, {}, [""] * 11, ["a", 1], [1, "a"], [[1], "a"], [[1], []], [[]], [[1]] * 11),
        *([True], [None], [[-1]], [[2**31]], [[1.5]], [1, True]),
    ],
)
def test_inputs_that_are_refused(given: Any) -> None:
    assert refused(parse_embedding, {"model": "m", "input": given}, 10).param == "input"


def test_a_model_without_token_ids_names_the_remedy() -> None:
    call = parse_embedding({"model": "m", "input": [[1, 2]]}, 10)
    said = refused(check_ids, call.embedding, MODEL)
    assert said.param == "input"
    assert "check_embedding_ctx_length=False" in said.message
    check_ids(call.embedding, replace(MODEL, accepts=frozenset({Input.TOKEN_IDS})))


@pytest.mark.parametrize("name", ["encoding_format", "dimensions", "user", "colour"])
def test_parameters_that_cannot_be_honoured(name: str) -> None:
    body: dict[str, Any] = {"model": "m", "input": "a", name: []}
    assert refused(parse_embedding, body, 10).param == name


def test_dimensions_must_be_ones_that_the_model_was_trained_for() -> None:
    model = replace(MODEL, dimensions=8)
    check_dimensions(8, model)
    check_dimensions(None, model)
    assert refused(check_dimensions, 4, model).param == "dimensions"
    check_dimensions(4, replace(model, matryoshka=frozenset({4})))


@given(st.lists(st.lists(st.floats(0.125, 100, width=32), min_size=4, max_size=4), max_size=3))
def test_cut_vectors_have_length_one_and_keep_their_direction(rows: list[list[float]]) -> None:
    whole = np.array(rows, dtype="<f4").reshape(-1, 4)
    vectors = Vectors(whole.tobytes(), len(rows), 4, 1)
    found = np.frombuffer(vectors.cut(2).raw, "<f4").reshape(-1, 2)
    assert vectors.cut(4) is vectors
    for cut, full in zip(found, whole[:, :2].astype(float), strict=True):
        np.testing.assert_allclose(cut, full / np.linalg.norm(full), rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "param"), [("", "input"), ([""], "input"), (["a", ""], "input[1]")]
)
def test_an_empty_text_is_refused(given: Any, param: str) -> None:
    assert refused(parse_embedding, {"model": "m", "input": given}, 10).param == param


def test_cut_vectors_of_other_lengths_are_cut_and_no_more() -> None:
    whole = np.array([[3, 4, 5, 6]], dtype="<f4")
    vectors = Vectors(whole.tobytes(), 1, 4, 1, normalized=False)
    assert vectors.cut(2).raw == whole[:, :2].tobytes()
    assert Vectors.join([vectors, vectors]).cut(2).normalized is False
