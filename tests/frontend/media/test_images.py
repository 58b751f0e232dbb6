"""Files that claim to be images, and a request's images as a whole."""

import base64
import io
import struct
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from frontend.domain import ImageLink
from frontend.errors import InvalidRequest
from frontend.media.fetch import Fetcher
from frontend.media.images import Images
from frontend.media.pictures import BadPicture, to_png


def picture(kind: str, mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 1 if mode in ("1", "P", "L") else "red").save(file, kind)
    return file.getvalue()


def opened(png: bytes) -> Image.Image:
    found = Image.open(io.BytesIO(png), formats=["PNG"])
    found.load()
    return found


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_the_four_formats_become_plain_pngs(kind: str) -> None:
    found = opened(to_png(picture(kind), 100))
    assert (found.mode, found.size) == ("RGB", (6, 4))
    assert found.getpixel((3, 2))[0] > 200  # type: ignore[index]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "I;16"])
def test_modes_become_rgb(mode: str) -> None:
    file = io.BytesIO()
    Image.new(mode, (3, 3)).save(file, "PNG")
    assert opened(to_png(file.getvalue(), 100)).mode == "RGB"


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "ICO", "PPM", "PDF", "EPS"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(BadPicture, match="no whole PNG"):
        to_png(picture(kind), 10_000)


def test_the_first_frame_of_an_animation_is_taken_and_metadata_left() -> None:
    frames = [Image.new("RGB", (5, 5), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    found = opened(to_png(file.getvalue(), 100))
    assert found.getpixel((0, 0)) == (254, 0, 0) or found.getpixel((0, 0)) == (255, 0, 0)
    tagged = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    exif[0x010E] = "where I live"
    Image.new("RGB", (8, 2)).save(tagged, "JPEG", exif=exif)
    upright = opened(to_png(tagged.getvalue(), 100))
    assert upright.size == (2, 8)
    assert not upright.getexif()


def test_pixels_are_counted_before_they_are_decoded() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000)))
    with pytest.raises(BadPicture, match="pixels"):
        to_png(bomb + chunk(b"IEND", b""), 25_000_000)
    with pytest.raises(BadPicture, match="101x1 pixels"):
        to_png(picture("PNG", size=(101, 1)), 100)


@given(st.binary(max_size=200), st.integers(0, 80))
def test_damaged_files_are_refused_and_nothing_else(noise: bytes, cut: int) -> None:
    for file in (noise, picture("PNG")[:cut], picture("JPEG")[:-cut] + noise):
        try:
            to_png(file, 100)
        except BadPicture:
            continue


@pytest.fixture
def images() -> Iterator[Images]:
    found = Images(Fetcher(1000, 1), max_count=2, max_bytes=1000, max_pixels=100)
    yield found
    found.close()


def data(file: bytes, head: str = "data:image/png;base64,") -> ImageLink:
    return ImageLink(head + base64.b64encode(file).decode(), "messages[0].content[1].image_url.url")


async def test_data_urls_come_in_order(images: Images) -> None:
    small, large = data(picture("PNG", size=(1, 1))), data(picture("GIF", size=(2, 2)))
    for head in ("DATA:image/GIF;base64,", "data:image/svg+xml;charset=utf-8;base64,"):
        found = await images.read((large, data(picture("PNG", size=(1, 1)), head)))
        assert [opened(file).size for file in found] == [(2, 2), (1, 1)]
    assert len(await images.read((small,))) == 1


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("data:,x", "no 'data:image"),
        ("data:text/html;base64,QQ==", "no 'data:image"),
        ("data:image/png,QQ==", "no 'data:image"),
        ("data:image/png;base64,!!", "no valid base64"),
        ("data:image/png;base64,QQ==", "no whole PNG"),
        ("data:image/png;base64," + "A" * 1400, "larger than 1000 bytes"),
        ("https://127.0.0.1/a.png", "not public"),
        ("https://localhost/a.png", "not public"),
        ("https://[::1]/a.png", "not public"),
        ("https://u@a.example/", "no plain https: URL"),
    ],
)
async def test_what_is_refused_names_its_place(images: Images, url: str, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem) as refused:
        await images.read((ImageLink(url, "messages[3].content[0].image_url.url"),))
    assert refused.value.param == "messages[3].content[0].image_url.url"


async def test_images_are_counted(images: Images) -> None:
    with pytest.raises(InvalidRequest, match="3 images, at most 2"):
        await images.read((data(b""),) * 3)
