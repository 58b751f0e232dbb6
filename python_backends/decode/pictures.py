"""Converts a decoder's output to pixels and PNG files."""

import io

import numpy as np

from python_backends.triton import Array


def to_pixels(image: Array) -> Array:
    """FP32 [3, H, W] -> UINT8 [H, W, 3]; values outside -1…1 are clipped."""
    # casting NaN to an integer is undefined: the colour would depend on the CPU
    scaled = np.nan_to_num((image + 1) * 127.5).round().clip(0, 255)
    return scaled.astype(np.uint8).transpose(1, 2, 0)


def encode_png(pixels: Array) -> bytes:
    """UINT8 [H, W, 3] -> a PNG file."""
    from PIL import Image

    sink = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(sink, format="PNG")
    return sink.getvalue()
