"""Pixels from numbers, and PNG from pixels."""

import io

import numpy as np
from PIL import Image

from python_backends.decode.pictures import encode_png, to_pixels


def test_pixels_are_clipped_and_rounded() -> None:
    image = np.array([[-2.0, -1.0], [1.0, np.nan]], dtype=np.float32)
    pixels = to_pixels(np.stack([image] * 3))
    assert pixels[..., 0].tolist() == [[0, 0], [255, 0]]
    read = Image.open(io.BytesIO(encode_png(pixels)))
    assert (np.asarray(read) == pixels).all()
