"""`POST /v1/images/generations`: a prompt → PNG files in base64.

Pure. `size`, `seed`, `steps`, `guidance` and `negative_prompt` reach the model or are refused
beyond its limits; what the model would ignore is refused by name.
"""

import base64
import re
import time
from dataclasses import dataclass

import orjson

from frontend.dialects.fields import Fields
from frontend.dialects.openai.sampling import read_identity
from frontend.domain import Drawing, ImageLimits
from frontend.errors import InvalidRequest

_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")


@dataclass(frozen=True, slots=True)
class ImageCall:
    """A parsed image request."""

    model: str
    drawing: Drawing
    user: str | None


def parse_image(body: object) -> ImageCall:
    """Raises InvalidRequest naming the field for anything that cannot be honoured."""
    fields = Fields(body)
    model = fields.text("model")
    if not model:
        raise fields.refuse("model", "is required", code="missing_required_parameter")
    prompt = fields.text("prompt")
    if not prompt:
        raise fields.refuse("prompt", "is required", code="missing_required_parameter")
    width, height = _size(fields)
    drawing = Drawing(
        prompt=prompt,
        negative_prompt=fields.text("negative_prompt"),
        count=fields.integer("n", 1, 128) or 1,
        width=width,
        height=height,
        steps=fields.integer("steps", 1, 10_000),
        guidance=fields.number("guidance", 0, 100),
        seed=fields.integer("seed", 0, 2**63 - 129),  # image i has seed + i
    )
    _refuse_what_is_missing(fields)
    user = read_identity(fields)
    fields.finish()
    return ImageCall(model, drawing, user)


def _size(fields: Fields) -> tuple[int | None, int | None]:
    size = fields.text("size")
    if size is None or size == "auto":
        return None, None
    if not (match := _SIZE.fullmatch(size)):
        raise fields.refuse("size", "must be WIDTHxHEIGHT in pixels, or 'auto'")
    return int(match[1]), int(match[2])


def _refuse_what_is_missing(fields: Fields) -> None:
    fields.only("response_format", ("b64_json",), "images are sent in base64; use 'b64_json'")
    fields.only("output_format", ("png",), "images are PNG")
    fields.only("output_compression", (100,), "PNG has no quality levels")
    fields.only("quality", ("auto", "standard"), "use 'steps'")
    fields.only("style", (), "say it in the prompt")
    fields.only("background", ("auto", "opaque"), "images are opaque")
    fields.only("moderation", ("auto", "low"), "there is no moderation")
    fields.only("stream", (False,), "images are not streamed")
    fields.only("partial_images", (0,), "images are not streamed")


def check_limits(drawing: Drawing, limits: ImageLimits) -> None:
    """Raises InvalidRequest when the model does not draw this."""
    for name, value in (("width", drawing.width), ("height", drawing.height)):
        if value is None:
            continue
        if value > limits.max_size or value % limits.multiple_of:
            raise InvalidRequest(
                f"'size' has the {name} {value}; this model draws multiples of "
                f"{limits.multiple_of} up to {limits.max_size}",
                param="size",
            )
    for param, asked, most in (
        ("n", drawing.count, limits.max_count),
        ("steps", drawing.steps, limits.max_steps),
    ):
        if asked is not None and asked > most:
            raise InvalidRequest(
                f"'{param}' is {asked}; this model allows at most {most}", param=param
            )


def render_images(images: list[bytes]) -> bytes:
    """The response body."""
    data = [{"b64_json": base64.b64encode(image).decode()} for image in images]
    return orjson.dumps({"created": int(time.time()), "data": data, "output_format": "png"})
