"""Images without a model: one colour, decided by the prompt and the seed, as a PNG file.

Image `i` of seed `s` is image 0 of seed `s + i`, as in the real pipeline.
"""

import hashlib
import struct
import zlib
from typing import Any

import numpy as np

from python_backends.errors import InvalidInput
from python_backends.triton import Array, Arrays, scalar, text, texts

MAX_SIZE = 1024


def draw(arrays: Arrays) -> dict[str, Array]:
    """`prompt`, `width`, `height`, `seed`, `count` … -> `image` STRING [count], `num_tokens`."""
    width, height = (scalar(arrays, name) or 32 for name in ("width", "height"))
    for name, size in (("width", width), ("height", height)):
        if not 0 < size <= MAX_SIZE:
            raise InvalidInput(f"'{name}' is {size}; it must be from 1 to {MAX_SIZE}", param=name)
    seed, count = scalar(arrays, "seed") or 0, scalar(arrays, "count") or 1
    settings: list[Any] = [text(arrays, "prompt"), text(arrays, "negative_prompt")]
    settings += [scalar(arrays, name) for name in ("steps", "guidance", "stop_after")]
    images = [
        png(width, height, hashlib.sha256(repr((settings, seed + i)).encode()).digest()[:3])
        for i in range(count)
    ]
    words = sum(len((one or "").split()) for one in settings[:2])
    return {"image": texts(images), "num_tokens": np.array([words], dtype=np.int32)}


def png(width: int, height: int, colour: bytes) -> bytes:
    """An 8-bit RGB image of one colour (PNG, W3C Recommendation 2003, §5 and §11)."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + colour * width) * height
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
