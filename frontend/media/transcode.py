"""A file that claims to be an image → a plain file of its first frame, or why not.

Only four decoders ever see it, sizes are looked at before a pixel is decoded, and what goes on to a
model is what was decoded here, encoded again: no other decoder gets a stranger's bytes. Decoding
blocks, so it runs in a process that is ended when it takes too long.
"""

import base64
import binascii
import io
import re
from dataclasses import dataclass

from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
"""Of a JPEG; in its compressed data 0xFF is followed by 0 or a restart marker."""
_SCAN, _END = b"\xda", b"\xd9"
# level 1, because the file goes no further than the model
_ENCODINGS: tuple[tuple[str, dict[str, int]], ...] = (
    ("PNG", {"compress_level": 1}),
    ("JPEG", {"quality": 95}),
    ("JPEG", {"quality": 85}),
)
"""What a file becomes: the first of them that is small enough."""


class BadImage(ValueError):
    """Says why a file is refused; meant for callers."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Of one image: pixels, the scans of a progressive JPEG, bytes of the file that is made."""

    pixels: int
    scans: int = 50
    encoded_bytes: int = 8 * 2**20


def decode(text: str, limits: DecodeLimits) -> bytes:
    """`to_plain` of a file in base64. Raises BadImage if it is not valid base64 or not an image
    within the limits."""
    try:
        file = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadImage("is not valid base64") from None
    return to_plain(file, limits)


def to_plain(file: bytes, limits: DecodeLimits) -> bytes:
    """RGB, upright, without metadata: PNG, or JPEG if a PNG would be too large.

    Raises BadImage if it is not an image within the limits. Blocks for as long as decoding takes.
    """
    image = _open(file, limits)
    for kind, options in _ENCODINGS:
        out = _Bounded(limits.encoded_bytes)
        try:
            image.save(out, kind, **options)
        except (_Full, OSError):  # a JPEG has no side of more than 65,535 pixels
            continue
        return out.getvalue()
    raise BadImage(
        f"has more than {limits.encoded_bytes} bytes after encoding for the model; send a"
        " smaller one"
    )


def _open(file: bytes, limits: DecodeLimits) -> Image.Image:
    try:
        with Image.open(io.BytesIO(file), formats=FORMATS) as image:
            width, height = image.size
            if width * height > limits.pixels:
                raise BadImage(f"has {width}x{height} pixels; at most {limits.pixels} are allowed")
            # MPO is a JPEG with more pictures behind it, as phones write them
            if image.format in ("JPEG", "MPO") and _scans(file, limits.scans) > limits.scans:
                raise BadImage(f"has more than {limits.scans} scans, which is the maximum")
            # the orientation is metadata, which is lost with the rest
            return ImageOps.exif_transpose(image).convert("RGB")
    except BadImage:
        raise
    except Image.DecompressionBombError:
        raise BadImage(f"has too many pixels; the maximum is {limits.pixels}") from None
    except Exception:  # decoders of damaged files raise anything
        raise BadImage("is not a complete PNG, JPEG, WebP or GIF file") from None


def _scans(jpeg: bytes, most: int) -> int:
    """Passes over the image that a JPEG's data asks for; stops counting after `most`."""
    scans, position = 0, 2
    while scans <= most and (marker := _MARKER.search(jpeg, position)) and marker[1] != _END:
        scans += marker[1] == _SCAN
        # over the segment's content, in which any bytes may look like a marker
        position = marker.end() + int.from_bytes(jpeg[marker.end() : marker.end() + 2])
    return scans


class _Full(Exception):
    """The file that is being written is larger than allowed."""


class _Bounded(io.BytesIO):
    """A file in memory that ends the writing of too many bytes."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self.tell() + len(data) > self._most:
            raise _Full
        return super().write(data)


def recode(png: bytes, kind: str, quality: int) -> bytes:
    """A model's PNG as `jpeg` or `webp` of that quality, 0…100. Blocks."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        image.convert("RGB").save(out, kind.upper(), quality=quality)
    return out.getvalue()
