"""`POST /v1/images/generations`: request → canonical image request. Pure.

`size`, `quality`, `seed`, `steps`, `guidance` and `negative_prompt` are passed to the model, or
refused beyond its limits. Fields that the model would ignore are refused by name.
"""

import re
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from msgspec import Meta

from frontend.dialects.declare import Refused, about
from frontend.dialects.openai.identity import Identity, check_model
from frontend.dialects.openai.sampling import MAX_CHOICES
from frontend.dialects.read import read
from frontend.dialects.refusal import refuse, require
from frontend.domain.images import ImageRequest
from frontend.domain.models import ImageLimits, Input, Model
from frontend.errors import InvalidRequest

_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
_QUALITIES = {"low": 0.5, "high": 2.0, "hd": 2.0}
"""Times the model's own number of steps."""
_Quality = Literal["auto", "low", "medium", "high", "standard", "hd"]
_Count = Annotated[int, Meta(ge=1, le=MAX_CHOICES)]
_Percent = Annotated[int, Meta(ge=0, le=100)]
_Previews = Annotated[int, Meta(ge=0, le=3)]
_Steps = Annotated[int, Meta(ge=1, le=10_000)]
_Guidance = Annotated[int, Meta(ge=0, le=100)] | Annotated[float, Meta(ge=0, le=100)]
_Seed = Annotated[int, Meta(ge=0, le=2**63 - 1 - MAX_CHOICES)]  # image i has seed + i


class ImageBody(Identity, kw_only=True):
    """An image to be generated."""

    prompt: Annotated[str, about("What the image shows.")]
    negative_prompt: Annotated[str | None, about("What the image does not show.")] = None
    n: Annotated[_Count | None, about("How many images to generate.")] = None
    size: Annotated[str | None, about("WIDTHxHEIGHT in pixels, or 'auto'.")] = None
    quality: Annotated[
        _Quality | None,
        about("'low' uses half of the model's default number of steps, 'high' twice as many."),
    ] = None
    response_format: Annotated[
        Literal["b64_json", "url"] | None,
        about("Whether the answer contains the file or a link to it."),
    ] = None
    stream: Annotated[bool | None, about("Send previews and the image as server-sent events.")] = (
        None
    )
    partial_images: Annotated[_Previews | None, about("How many previews a stream has.")] = None
    output_format: Annotated[
        Literal["png", "jpeg", "webp"] | None, about("The format of the file. Default: png.")
    ] = None
    output_compression: Annotated[_Percent | None, about("The quality of JPEG and WebP files.")] = (
        None
    )
    steps: Annotated[_Steps | None, about("Denoising steps.")] = None
    guidance: Annotated[_Guidance | None, about("How closely the image follows the prompt.")] = None
    seed: Annotated[_Seed | None, about("The same seed gives the same image.")] = None
    style: Annotated[Refused | None, about("Refused.", reason="put it in the prompt")] = None
    background: Annotated[
        Literal["auto", "opaque"] | None, about("Images are opaque.", reason="images are opaque")
    ] = None
    moderation: Annotated[
        Literal["auto", "low"] | None,
        about("Moderation is not available.", reason="moderation is not available"),
    ] = None


@dataclass(frozen=True, slots=True)
class ImageCall:
    """A parsed image request."""

    model: str
    image: ImageRequest
    user: str | None
    quality: str
    as_url: bool
    stream: bool
    partial_images: int
    format: str
    compression: int


def parse_image(body: object) -> ImageCall:
    """Raises InvalidRequest naming the field for anything that cannot be honoured."""
    given = read(ImageBody, body)
    check_model(given)
    if not given.prompt:
        raise require("prompt")
    width, height = _size(given.size)
    image = ImageRequest(
        prompt=given.prompt,
        negative_prompt=given.negative_prompt,
        count=given.n or 1,
        width=width,
        height=height,
        steps=given.steps,
        guidance=given.guidance,
        seed=given.seed,
    )
    _check_stream(given)
    kind, compression = _format(given)
    return ImageCall(
        given.model,
        image,
        given.user,
        given.quality or "auto",
        given.response_format == "url",
        bool(given.stream),
        given.partial_images or 0,
        kind,
        compression,
    )


def _size(size: str | None) -> tuple[int | None, int | None]:
    if size is None or size == "auto":
        return None, None
    if not (match := _SIZE.fullmatch(size)):
        raise refuse("size", "must be WIDTHxHEIGHT in pixels, or 'auto'")
    return int(match[1]), int(match[2])


def _check_stream(body: ImageBody) -> None:
    if body.partial_images and not body.stream:
        raise refuse("partial_images", "is only allowed with 'stream': true")
    if body.stream and (body.n or 1) > 1:
        raise refuse("n", f"is {body.n}; a stream has one image")
    if body.stream and body.response_format == "url":
        raise refuse("response_format", "is 'url'; streams contain 'b64_json'")


def _format(body: ImageBody) -> tuple[str, int]:
    kind, compression = body.output_format or "png", body.output_compression
    # 100 is the API's documented default, which clients send for PNG as well
    if kind == "png" and compression not in (None, 100):
        raise refuse("output_compression", "is for 'jpeg' and 'webp'; PNG is lossless")
    return kind, 100 if compression is None else compression


def resolve(call: ImageCall, model: Model) -> ImageCall:
    """The call with the steps of its quality for this model, within the model's limits."""
    limits, image = model.image, call.image
    if limits is None:
        return call
    factor = _QUALITIES.get(call.quality)
    if image.steps is None and factor is not None:
        # quality is a preference, so it is cut to the limits, while `steps` is refused beyond them
        steps = min(limits.max_steps, max(1, round(limits.steps * factor)))
        image = replace(image, steps=steps)
    image = replace(image, width=image.width or limits.width, height=image.height or limits.height)
    check_limits(image, limits)
    if call.partial_images and Input.PREVIEWS not in model.accepts:
        raise InvalidRequest(
            f"the model '{model.name}' does not support previews; omit 'partial_images'",
            param="partial_images",
            code="model_not_supported",
        )
    return replace(call, image=image)


def check_limits(image: ImageRequest, limits: ImageLimits) -> None:
    """Raises InvalidRequest if the request exceeds the model's limits."""
    for name, value in (("width", image.width), ("height", image.height)):
        if value is None:
            continue
        if value > limits.max_size or value % limits.multiple_of:
            raise InvalidRequest(
                f"'size' has the {name} {value}; this model generates multiples of "
                f"{limits.multiple_of} up to {limits.max_size}",
                param="size",
            )
    for param, asked, most in (
        ("n", image.count, limits.max_count),
        ("steps", image.steps, limits.max_steps),
    ):
        if asked is not None and asked > most:
            raise InvalidRequest(
                f"'{param}' is {asked}; this model allows at most {most}", param=param
            )


def previews(call: ImageCall, model: Model) -> list[int]:
    """The steps after which previews are made, evenly spread; fewer if there are few steps."""
    steps = call.image.steps or (model.image.steps if model.image else 1)
    parts = call.partial_images + 1
    # a set, because few steps may round to the same one
    looks = {round(steps * number / parts) for number in range(1, parts)}
    return sorted(look for look in looks if 0 < look < steps)
