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
    parse_embedding,
    render_embedding,
)
from frontend.domain import Vectors
from tests.frontend.dialects.bodies import refused
from tests.frontend.events import MODEL

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


@pytest.mark.parametrize(
    "given", [None, [], 5, {}, [""] * 11, ["a", 1], [1, 2], [[1], [2]], [True], [None]]
)
def test_inputs_that_are_refused(given: Any) -> None:
    assert refused(parse_embedding, {"model": "m", "input": given}, 10).param == "input"


def test_token_ids_are_refused_with_a_remedy() -> None:
    said = refused(parse_embedding, {"model": "m", "input": [[1, 2]]}, 10)
    assert "check_embedding_ctx_length=False" in said.message


@pytest.mark.parametrize("name", ["encoding_format", "dimensions", "user", "colour"])
def test_parameters_that_cannot_be_honoured(name: str) -> None:
    body: dict[str, Any] = {"model": "m", "input": "a", name: []}
    assert refused(parse_embedding, body, 10).param == name


def test_dimensions_must_be_the_models_own() -> None:
    model = replace(MODEL, dimensions=8)
    call = parse_embedding({"model": "m", "input": "a", "dimensions": 8}, 10)
    check_dimensions(call, model)
    shorter = replace(call, dimensions=4)
    assert refused(check_dimensions, shorter, model).param == "dimensions"
