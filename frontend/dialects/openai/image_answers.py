"""Renders images as the answer of `/v1/images/generations`, whole or as stream events. Pure."""

import base64
import time
from typing import Any

import orjson

from frontend.dialects.openai.images import ImageCall
from frontend.domain.usage import Usage


def render_images(call: ImageCall, shown: list[str], usage: Usage) -> bytes:
    """The response body; `shown` are base64 texts or URLs."""
    name = "url" if call.as_url else "b64_json"
    body = {"created": int(time.time()), "data": [{name: one} for one in shown]}
    return orjson.dumps({**body, **_about(call), "usage": _usage(usage)})


def render_partial(call: ImageCall, number: int, file: bytes) -> bytes:
    """The event of a preview."""
    return _event(call, "partial_image", file, {"partial_image_index": number})


def render_completed(call: ImageCall, file: bytes, usage: Usage) -> bytes:
    """The event of the final image."""
    return _event(call, "completed", file, {"usage": _usage(usage)})


def encode(file: bytes) -> str:
    """The file as base64, for `b64_json`."""
    return base64.b64encode(file).decode()


def _event(call: ImageCall, name: str, file: bytes, more: dict[str, Any]) -> bytes:
    kind = f"image_generation.{name}"
    about = {"quality": "auto", **_about(call)}
    body = {"type": kind, "b64_json": encode(file), "created_at": int(time.time()), **about, **more}
    return f"event: {kind}\ndata: ".encode() + orjson.dumps(body) + b"\n\n"


def _about(call: ImageCall) -> dict[str, str]:
    """The facts about generated images; OpenAI's answers have no value for a quality of 'auto'."""
    about = {"background": "opaque", "output_format": call.format}
    if call.image.width is not None:
        about["size"] = f"{call.image.width}x{call.image.height}"
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
