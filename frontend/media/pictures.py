"""A file that claims to be an image → a plain PNG of its first frame, or why not.

Only four decoders ever see it, sizes are looked at before a pixel is decoded, and what goes on to a
model is what was decoded here, encoded anew: no other decoder meets a stranger's bytes.
"""

import io

from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")


class BadPicture(ValueError):
    """Says why a file is not taken; meant for callers."""


def to_png(file: bytes, max_pixels: int) -> bytes:
    """RGB, upright, without metadata. Raises BadPicture. Blocks for as long as decoding takes."""
    try:
        with Image.open(io.BytesIO(file), formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > max_pixels:
                raise BadPicture(
                    f"has {width}x{height} pixels, at most {max_pixels} in all are taken"
                )
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except BadPicture:
        raise
    except Image.DecompressionBombError:
        raise BadPicture(f"has too many pixels, at most {max_pixels} are taken") from None
    except Exception:  # decoders of damaged files raise anything
        raise BadPicture("is no whole PNG, JPEG, WebP or GIF file") from None
    out = io.BytesIO()
    upright.save(out, "PNG", compress_level=1)
    return out.getvalue()


def recode(png: bytes, kind: str, quality: int) -> bytes:
    """A model's PNG as `jpeg` or `webp` of that quality, 0…100. Blocks."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        picture.convert("RGB").save(out, kind.upper(), quality=quality)
    return out.getvalue()
