"""Images: what the model can draw reaches it, anything else is refused by name."""

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.dialects.openai.images import check_limits, parse_image, render_images
from frontend.domain import Drawing, ImageLimits
from tests.frontend.dialects.bodies import refused

LIMITS = ImageLimits(32, 32, 8, 64, 20, 50, 4.0, 2)


def parse(**fields: Any) -> Drawing:
    return parse_image({"model": "m", "prompt": "a cat", **fields}).drawing


def test_every_setting_reaches_the_model() -> None:
    wanted = {"seed": 3, "steps": 9, "guidance": 1.5, "negative_prompt": "dogs"}
    assert parse(n=2, size="64x32", **wanted) == Drawing(
        "a cat", "dogs", count=2, width=64, height=32, steps=9, guidance=1.5, seed=3
    )
    assert parse() == Drawing("a cat")
    assert parse(size="auto", response_format="b64_json", quality="auto") == Drawing("a cat")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", None),
        ("prompt", None),
        ("prompt", 5),
        ("prompt", ""),
        ("n", 0),
        ("size", "big"),
        ("size", "0x8"),
        ("size", "100000x8"),
        ("seed", -1),
        ("seed", 2**63),
        ("steps", 0),
        ("guidance", -1),
        ("response_format", "url"),
        ("output_format", "webp"),
        ("quality", "hd"),
        ("style", "vivid"),
        ("background", "transparent"),
        ("stream", True),
        ("partial_images", 1),
        ("colour", "red"),
    ],
)
def test_settings_that_cannot_be_honoured(name: str, value: Any) -> None:
    body: dict[str, Any] = {"model": "m", "prompt": "a cat", name: value}
    assert refused(parse_image, body).param == name


@pytest.mark.parametrize(
    ("drawing", "param"),
    [
        (Drawing("x", width=72, height=8), "size"),
        (Drawing("x", width=8, height=12), "size"),
        (Drawing("x", width=65, height=64), "size"),
        (Drawing("x", count=3), "n"),
        (Drawing("x", steps=51), "steps"),
    ],
)
def test_the_models_limits(drawing: Drawing, param: str) -> None:
    assert refused(check_limits, drawing, LIMITS).param == param
    check_limits(Drawing("x", width=64, height=8, count=2, steps=50), LIMITS)


@given(st.lists(st.binary(max_size=20), max_size=3))
def test_files_arrive_as_they_are(files: list[bytes]) -> None:
    body = orjson.loads(render_images(files))
    assert [base64.b64decode(one["b64_json"]) for one in body["data"]] == files
