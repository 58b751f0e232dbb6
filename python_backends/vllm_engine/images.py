"""Decodes the images of a request for vLLM.

The gateway has checked them and encoded them as PNG; other clients' files are limited here again,
before a pixel is decoded.
"""

import io
from typing import Any

from python_backends.errors import InvalidInput
from python_backends.triton import Arrays

MAX_COUNT = 64
MAX_PIXELS = 64_000_000
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")


def read_images(arrays: Arrays) -> list[Any]:
    """The files of the tensor `images` as RGB images, in order. Raises InvalidInput, naming the
    image, for a file that is not one, or if there are too many."""
    files = arrays["images"].reshape(-1) if "images" in arrays else ()
    if len(files) > MAX_COUNT:
        raise InvalidInput(
            f"'images' contains {len(files)} images, more than the maximum of {MAX_COUNT}"
        )
    return [_read(file, number) for number, file in enumerate(files)]


def _read(file: bytes, number: int) -> Any:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(file), formats=_FORMATS) as picture:
            # `open` reads the header only; pixels are decoded by `convert`
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise InvalidInput(
                    f"image {number} has {width}x{height} pixels, more than the maximum of"
                    f" {MAX_PIXELS}",
                    param="messages",
                )
            return picture.convert("RGB")
    # Pillow raises SyntaxError for broken PNG chunks
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidInput(f"image {number} cannot be read: {error}", param="messages") from error
