"""Embeddings are the same bits in both encodings; image requests stay within a model's limits."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.dialects.openai.embeddings import parse_embedding, render_embedding
from frontend.dialects.openai.images import check_limits, parse_image
from frontend.domain import ImageLimits, Vectors
from frontend.errors import InvalidRequest

floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
LIMITS = ImageLimits(32, 32, 8, 64, 20, 50, 2.0, 4)


@given(st.lists(st.lists(floats, min_size=3, max_size=3), min_size=1, max_size=4))
def test_both_encodings_are_the_same_bits(rows: list[list[float]]) -> None:
    raw = np.array(rows, dtype="<f4").tobytes()
    vectors = Vectors(raw, len(rows), 3, 9)
    decoded = []
    for encoding in ("float", "base64"):
        call = parse_embedding(
            {"model": "m", "input": ["x"] * len(rows), "encoding_format": encoding}, 8
        )
        data = json.loads(render_embedding(call, vectors, "m"))["data"]
        assert [item["index"] for item in data] == list(range(len(rows)))
        if encoding == "base64":
            decoded.append(b"".join(base64.b64decode(item["embedding"]) for item in data))
        else:
            decoded.append(np.array([i["embedding"] for i in data], dtype="<f4").tobytes())
    assert decoded == [raw, raw]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": [[1], [2]]}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": ["a"] * 9}, "input"),
        ({"input": None}, "input"),
        ({"dimensions": 8}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"colour": 1}, "colour"),
    ],
)
def test_embedding_refusals_name_the_field(more: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_embedding({"model": "m", "input": "x", **more}, 8)
    assert refusal.value.param == param


def test_image_fields_reach_the_drawing() -> None:
    call = parse_image(
        {
            "model": "m",
            "prompt": "a cat",
            "n": 2,
            "size": "64x32",
            "seed": 5,
            "steps": 7,
            "guidance": 1.5,
            "negative_prompt": "dog",
            "response_format": "b64_json",
        }
    )
    drawing = call.drawing
    assert (drawing.width, drawing.height, drawing.count) == (64, 32, 2)
    assert (drawing.seed, drawing.steps, drawing.guidance) == (5, 7, 1.5)
    assert drawing.negative_prompt == "dog"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"size": "big"}, "size"),
        ({"size": "0x8"}, "size"),
        ({"size": "65x64"}, "size"),
        ({"size": "128x64"}, "size"),
        ({"n": 5}, "n"),
        ({"steps": 51}, "steps"),
        ({"response_format": "url"}, "response_format"),
        ({"stream": True}, "stream"),
        ({"style": "vivid"}, "style"),
        ({"seed": -1}, "seed"),
    ],
)
def test_image_refusals_name_the_field(more: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        check_limits(parse_image({"model": "m", "prompt": "x", **more}).drawing, LIMITS)
    assert refusal.value.param == param
