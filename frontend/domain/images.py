"""Requests for images, and their results."""

from dataclasses import dataclass

_PATCH = 16


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """Images to be made from a prompt. None means the model's default."""

    prompt: str
    negative_prompt: str | None = None
    count: int = 1
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance: float | None = None
    seed: int | None = None
    stop_after: int | None = None
    """For a preview: the steps after which the image is shown as it is by then."""


@dataclass(frozen=True, slots=True)
class ImageResult:
    """PNG files, and the tokens of the prompts."""

    files: list[bytes]
    prompt_tokens: int = 0


def patches(image: ImageRequest) -> int:
    """The tokens of an image: one for each begun patch of 16x16 pixels."""
    width, height = image.width or 0, image.height or 0
    return -(-width // _PATCH) * -(-height // _PATCH) * image.count
