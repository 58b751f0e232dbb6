"""Images: what the model can draw reaches it, anything else is refused by name."""

import base64
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.dialects.openai.image_answers import encode, render_images
from frontend.dialects.openai.images import ImageCall, check_limits, parse_image, previews, resolve
from frontend.domain.images import ImageRequest
from frontend.domain.models import ImageLimits, Input
from frontend.domain.usage import Usage
from tests.support.bodies import refused
from tests.support.events import MODEL as CHAT

LIMITS = ImageLimits(32, 32, 8, 64, 20, 50, 4.0, 2)

MODEL = replace(CHAT, image=LIMITS, accepts=frozenset({Input.PREVIEWS}))


def call(**fields: Any) -> ImageCall:
    return parse_image({"model": "m", "prompt": "a cat", **fields})


def parse(**fields: Any) -> ImageRequest:
    return parse_image({"model": "m", "prompt": "a cat", **fields}).image


def test_every_setting_reaches_the_model() -> None:
    wanted = {"seed": 3, "steps": 9, "guidance": 1.5, "negative_prompt": "dogs"}
    assert parse(n=2, size="64x32", **wanted) == ImageRequest(
        "a cat", "dogs", count=2, width=64, height=32, steps=9, guidance=1.5, seed=3
    )
    assert parse() == ImageRequest("a cat")
    assert parse(size="auto", response_format="b64_json", quality="auto") == ImageRequest("a cat")


@pytest.mark.parametrize(
    ("quality", "steps"), [("low", 10), ("medium", None), ("high", 40), ("auto", None)]
)
def test_quality_is_a_number_of_steps_unless_they_are_given(
    quality: str, steps: int | None
) -> None:
    assert resolve(call(quality=quality), MODEL).image.steps == steps
    assert resolve(call(quality=quality, steps=7), MODEL).image.steps == 7


@given(st.integers(1, 50), st.integers(0, 3))
def test_previews_come_in_order_before_the_end(steps: int, wanted: int) -> None:
    asked = resolve(call(stream=True, partial_images=wanted, steps=steps), MODEL)
    looks = previews(asked, MODEL)
    assert looks == sorted(set(looks))
    assert all(0 < look < steps for look in looks)
    assert len(looks) == min(wanted, steps - 1) or steps <= wanted + 1


def test_previews_need_a_model_that_shows_them() -> None:
    asked = call(stream=True, partial_images=1)
    assert refused(resolve, asked, replace(MODEL, accepts=frozenset())).param == "partial_images"


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
        ("response_format", "file"),
        ("output_format", "gif"),
        ("output_compression", 50),
        ("quality", "ultra"),
        ("style", "vivid"),
        ("background", "transparent"),
        ("stream", 1),
        ("partial_images", 1),
        ("partial_images", 4),
        ("colour", "red"),
    ],
)
def test_settings_that_cannot_be_honoured(name: str, value: Any) -> None:
    body: dict[str, Any] = {"model": "m", "prompt": "a cat", name: value}
    assert refused(parse_image, body).param == name


@pytest.mark.parametrize(("name", "value"), [("n", 2), ("response_format", "url")])
def test_what_streams_do_not_bring(name: str, value: Any) -> None:
    body = {"model": "m", "prompt": "a cat", "stream": True, name: value}
    assert refused(parse_image, body).param == name


@pytest.mark.parametrize(
    ("image", "param"),
    [
        (ImageRequest("x", width=72, height=8), "size"),
        (ImageRequest("x", width=8, height=12), "size"),
        (ImageRequest("x", width=65, height=64), "size"),
        (ImageRequest("x", count=3), "n"),
        (ImageRequest("x", steps=51), "steps"),
    ],
)
def test_the_models_limits(image: ImageRequest, param: str) -> None:
    assert refused(check_limits, image, LIMITS).param == param
    check_limits(ImageRequest("x", width=64, height=8, count=2, steps=50), LIMITS)


@given(st.lists(st.binary(max_size=20), max_size=3))
def test_files_arrive_as_they_are(files: list[bytes]) -> None:
    asked = resolve(call(), MODEL)
    body = orjson.loads(render_images(asked, [encode(one) for one in files], Usage(3, 0, 4)))
    assert [base64.b64decode(one["b64_json"]) for one in body["data"]] == files
    assert body["size"] == "32x32"
    assert body["usage"]["total_tokens"] == 7
