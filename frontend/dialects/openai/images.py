"""`POST /v1/images/generations`: a prompt → images, whole or with previews on the way.

Pure. `size`, `quality`, `seed`, `steps`, `guidance` and `negative_prompt` reach the model or are
refused beyond its limits; what the model would ignore is refused by name.
"""

import base64
import re
import time
from dataclasses import dataclass, replace
from typing import Any

import orjson

from frontend.dialects.fields import Fields
from frontend.dialects.openai.sampling import read_identity
from frontend.domain.images import ImageRequest
from frontend.domain.models import ImageLimits, Input, Model
from frontend.domain.usage import Usage
from frontend.errors import InvalidRequest

_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
_QUALITIES = {"low": 0.5, "high": 2.0, "hd": 2.0}
"""Times the model's own number of steps."""


@dataclass(frozen=True, slots=True)
class ImageCall:
    """A parsed image request."""

    model: str
    drawing: ImageRequest
    user: str | None
    quality: str
    as_url: bool
    stream: bool
    partial_images: int
    format: str
    compression: int


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
    drawing = ImageRequest(
        prompt=prompt,
        negative_prompt=fields.text("negative_prompt"),
        count=fields.integer("n", 1, 128) or 1,
        width=width,
        height=height,
        steps=fields.integer("steps", 1, 10_000),
        guidance=fields.number("guidance", 0, 100),
        seed=fields.integer("seed", 0, 2**63 - 129),  # image i has seed + i
    )
    qualities = ("auto", "low", "medium", "high", "standard", "hd")
    quality = fields.choice("quality", qualities) or "auto"
    as_url = fields.choice("response_format", ("b64_json", "url")) == "url"
    stream, partial = _stream(fields, drawing.count, as_url)
    kind, compression = _format(fields)
    _refuse_what_is_missing(fields)
    user = read_identity(fields)
    fields.finish()
    return ImageCall(model, drawing, user, quality, as_url, stream, partial, kind, compression)


def _size(fields: Fields) -> tuple[int | None, int | None]:
    size = fields.text("size")
    if size is None or size == "auto":
        return None, None
    if not (match := _SIZE.fullmatch(size)):
        raise fields.refuse("size", "must be WIDTHxHEIGHT in pixels, or 'auto'")
    return int(match[1]), int(match[2])


def _stream(fields: Fields, count: int, as_url: bool) -> tuple[bool, int]:
    stream = fields.boolean("stream") or False
    partial = fields.integer("partial_images", 0, 3) or 0
    if partial and not stream:
        raise fields.refuse("partial_images", "is only allowed with 'stream': true")
    if stream and count > 1:
        raise fields.refuse("n", f"is {count}; a stream brings one image")
    if stream and as_url:
        raise fields.refuse("response_format", "is 'url'; streams bring 'b64_json'")
    return stream, partial


def _format(fields: Fields) -> tuple[str, int]:
    kind = fields.choice("output_format", ("png", "jpeg", "webp")) or "png"
    compression = fields.integer("output_compression", 0, 100)
    if kind == "png" and compression not in (None, 100):
        raise fields.refuse("output_compression", "is for 'jpeg' and 'webp'; PNG loses nothing")
    return kind, 100 if compression is None else compression


def _refuse_what_is_missing(fields: Fields) -> None:
    fields.only("style", (), "say it in the prompt")
    fields.only("background", ("auto", "opaque"), "images are opaque")
    fields.only("moderation", ("auto", "low"), "there is no moderation")


def settle(call: ImageCall, model: Model) -> ImageCall:
    """The call with what its quality means for this model, whose limits it must keep."""
    limits, drawing = model.image, call.drawing
    if limits is None:
        return call
    factor = _QUALITIES.get(call.quality)
    if drawing.steps is None and factor is not None:
        steps = min(limits.max_steps, max(1, round(limits.steps * factor)))
        drawing = replace(drawing, steps=steps)
    drawing = replace(
        drawing, width=drawing.width or limits.width, height=drawing.height or limits.height
    )
    check_limits(drawing, limits)
    if call.partial_images and Input.PREVIEWS not in model.accepts:
        raise InvalidRequest(
            f"the model '{model.name}' shows no previews; leave 'partial_images' out",
            param="partial_images",
            code="model_not_supported",
        )
    return replace(call, drawing=drawing)


def check_limits(drawing: ImageRequest, limits: ImageLimits) -> None:
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


def previews(call: ImageCall, model: Model) -> list[int]:
    """The steps after which to look, spread over the drawing; fewer when it has few steps."""
    steps = call.drawing.steps or (model.image.steps if model.image else 1)
    parts = call.partial_images + 1
    looks = {round(steps * number / parts) for number in range(1, parts)}
    return sorted(look for look in looks if 0 < look < steps)


def render_images(call: ImageCall, shown: list[str], usage: Usage) -> bytes:
    """The response body; `shown` are base64 texts or URLs."""
    name = "url" if call.as_url else "b64_json"
    body = {"created": int(time.time()), "data": [{name: one} for one in shown]}
    return orjson.dumps({**body, **_about(call), "usage": _usage(usage)})


def render_partial(call: ImageCall, number: int, file: bytes) -> bytes:
    """The event that brings a preview."""
    return _event(call, "partial_image", file, {"partial_image_index": number})


def render_completed(call: ImageCall, file: bytes, usage: Usage) -> bytes:
    """The event that brings the image."""
    return _event(call, "completed", file, {"usage": _usage(usage)})


def encode(file: bytes) -> str:
    """As `b64_json` has it."""
    return base64.b64encode(file).decode()


def _event(call: ImageCall, name: str, file: bytes, more: dict[str, Any]) -> bytes:
    kind = f"image_generation.{name}"
    about = {"quality": "auto", **_about(call)}
    body = {"type": kind, "b64_json": encode(file), "created_at": int(time.time()), **about, **more}
    return f"event: {kind}\ndata: ".encode() + orjson.dumps(body) + b"\n\n"


def _about(call: ImageCall) -> dict[str, str]:
    """What was drawn; OpenAI's answers have no word for a quality of 'auto'."""
    about = {"background": "opaque", "output_format": call.format}
    if call.drawing.width is not None:
        about["size"] = f"{call.drawing.width}x{call.drawing.height}"
    quality = {"hd": "high", "standard": "medium"}.get(call.quality, call.quality)
    return about if quality == "auto" else {**about, "quality": quality}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"text_tokens": usage.prompt_tokens, "image_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"image_tokens": usage.completion_tokens, "text_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
