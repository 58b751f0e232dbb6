"""From a decoder's numbers to files."""

import io

import numpy as np

from python_backends.triton import Array


def to_pixels(image: Array) -> Array:
    """FP32 [3, H, W] in -1…1, beyond it clipped -> UINT8 [H, W, 3]."""
    scaled = np.nan_to_num((image + 1) * 127.5).round().clip(0, 255)
    return scaled.astype(np.uint8).transpose(1, 2, 0)


def encode_png(pixels: Array) -> bytes:
    """UINT8 [H, W, 3] -> a PNG file."""
    from PIL import Image

    sink = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(sink, format="PNG")
    return sink.getvalue()
