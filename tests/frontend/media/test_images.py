"""Files that claim to be images, and a request's images as a whole."""

import asyncio
import base64
import io
import struct
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from frontend.budget import Budget
from frontend.domain.generation import ImageLink
from frontend.errors import InvalidRequest
from frontend.media.fetch import Fetcher
from frontend.media.images import ImageBounds, Images
from frontend.media.transcode import BadImage, DecodeLimits, to_plain
from frontend.workers import Workers
from tests.support.upstream import request


def plain(file: bytes, pixels: int) -> bytes:
    return to_plain(file, DecodeLimits(pixels))


def image(kind: str, mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 1 if mode in ("1", "P", "L") else "red").save(file, kind)
    return file.getvalue()


def opened(png: bytes) -> Image.Image:
    found = Image.open(io.BytesIO(png), formats=["PNG"])
    found.load()
    return found


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_the_four_formats_become_plain_pngs(kind: str) -> None:
    found = opened(plain(image(kind), 100))
    assert (found.mode, found.size) == ("RGB", (6, 4))
    assert found.getpixel((3, 2))[0] > 200  # type: ignore[index]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "I;16"])
def test_modes_become_rgb(mode: str) -> None:
    file = io.BytesIO()
    Image.new(mode, (3, 3)).save(file, "PNG")
    assert opened(plain(file.getvalue(), 100)).mode == "RGB"


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "ICO", "PPM", "PDF", "EPS"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(BadImage, match="not a complete PNG"):
        plain(image(kind), 10_000)


def test_the_first_frame_of_an_animation_is_taken_and_metadata_left() -> None:
    frames = [Image.new("RGB", (5, 5), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    found = opened(plain(file.getvalue(), 100))
    assert found.getpixel((0, 0)) == (254, 0, 0) or found.getpixel((0, 0)) == (255, 0, 0)
    tagged = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    exif[0x010E] = "where I live"
    Image.new("RGB", (8, 2)).save(tagged, "JPEG", exif=exif)
    upright = opened(plain(tagged.getvalue(), 100))
    assert upright.size == (2, 8)
    assert not upright.getexif()


def test_pixels_are_counted_before_they_are_decoded() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000)))
    with pytest.raises(BadImage, match="pixels"):
        plain(bomb + chunk(b"IEND", b""), 25_000_000)
    with pytest.raises(BadImage, match="101x1 pixels"):
        plain(image("PNG", size=(101, 1)), 100)


@given(st.binary(max_size=200), st.integers(0, 80))
def test_damaged_files_are_refused_and_nothing_else(noise: bytes, cut: int) -> None:
    for file in (noise, image("PNG")[:cut], image("JPEG")[:-cut] + noise):
        try:
            plain(file, 100)
        except BadImage:
            continue


BOUNDS = ImageBounds(2, 1000, 10_000, DecodeLimits(100, encoded_bytes=10_000))


@pytest.fixture
async def images() -> AsyncIterator[Images]:
    workers = Workers(2, deadline_s=20, memory_bytes=2**30)
    yield Images(Fetcher(1000, 1), workers, Budget(80_000), BOUNDS)
    await workers.close()


def data(file: bytes, head: str = "data:image/png;base64,") -> ImageLink:
    return ImageLink(head + base64.b64encode(file).decode(), "messages[0].content[1].image_url.url")


async def test_data_urls_come_in_order(images: Images) -> None:
    small, large = data(image("PNG", size=(1, 1))), data(image("GIF", size=(2, 2)))
    for head in ("DATA:image/GIF;base64,", "data:image/svg+xml;charset=utf-8;base64,"):
        found = await images.read((large, data(image("PNG", size=(1, 1)), head)), request("ada"))
        assert [opened(file).size for file in found] == [(2, 2), (1, 1)]
    assert len(await images.read((small,), request("ada"))) == 1


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("data:,x", "not a 'data:image"),
        ("data:text/html;base64,QQ==", "not a 'data:image"),
        ("data:image/png,QQ==", "not a 'data:image"),
        ("data:image/png;base64,!!", "not valid base64"),
        ("data:image/png;base64,QQ==", "not a complete PNG"),
        ("data:image/png;base64," + "A" * 1400, "larger than 1000 bytes"),
        ("https://127.0.0.1/a.png", "not public"),
        ("https://localhost/a.png", "not public"),
        ("https://[::1]/a.png", "not public"),
        ("https://u@a.example/", "not a plain https: URL"),
    ],
)
async def test_what_is_refused_names_its_place(images: Images, url: str, problem: str) -> None:
    link = ImageLink(url, "messages[3].content[0].image_url.url")
    with pytest.raises(InvalidRequest, match=problem) as refused:
        await images.read((link,), request("ada"))
    assert refused.value.param == "messages[3].content[0].image_url.url"


async def test_images_are_counted(images: Images) -> None:
    with pytest.raises(InvalidRequest, match="3 images; at most 2"):
        await images.read((data(b""),) * 3, request("ada"))


def progressive(scans: int, size: tuple[int, int] = (64, 64)) -> bytes:
    """A progressive JPEG of one colour whose last scan comes again and again."""
    file = io.BytesIO()
    Image.new("RGB", size).save(file, "JPEG", progressive=True)
    jpeg = file.getvalue()
    start = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[start:-2] * scans + jpeg[-2:]


def test_scans_are_counted_before_they_are_decoded() -> None:
    assert opened(plain(progressive(30), 5000)).size == (64, 64)
    with pytest.raises(BadImage, match="more than 50 scans"):
        plain(progressive(1000), 5000)


def test_what_follows_the_end_of_a_jpeg_is_no_scan() -> None:
    film = b"\xff\xda" * 1000  # as phones put behind their photos
    assert opened(plain(image("JPEG") + film, 100)).size == (6, 4)
    exif = Image.Exif()
    exif[0x010E] = "x\xff\xda" * 500
    file = io.BytesIO()
    Image.new("RGB", (6, 4)).save(file, "JPEG", exif=exif, comment=film)
    assert opened(plain(file.getvalue(), 100)).size == (6, 4)


def test_a_file_that_would_be_too_large_becomes_a_jpeg_or_is_refused() -> None:
    noise = io.BytesIO()
    Image.effect_noise((300, 300), 80).convert("RGB").save(noise, "JPEG", quality=60)

    def made(most: int) -> Image.Image:
        file = to_plain(noise.getvalue(), DecodeLimits(10**6, encoded_bytes=most))
        assert len(file) <= most
        return Image.open(io.BytesIO(file))

    assert made(10**6).format == "PNG"
    assert made(100_000).format == "JPEG"
    with pytest.raises(BadImage, match="more than 10000 bytes after encoding"):
        made(10_000)


async def test_the_images_of_a_request_are_bounded_together(images: Images) -> None:
    few = replace(BOUNDS, request_bytes=100)
    one = data(image("PNG"))
    with pytest.raises(InvalidRequest, match="have more than 100 bytes") as refused:
        await replace(images, bounds=few).read((one, one), request("ada"))
    assert refused.value.param == one.path


async def test_what_takes_too_long_is_ended_and_others_go_on() -> None:
    workers = Workers(2, deadline_s=1, memory_bytes=2**30)
    bounds = ImageBounds(2, 10**7, 10**8, DecodeLimits(10**8, 10**6, 10**8))
    images = Images(Fetcher(1000, 1), workers, Budget(10**9), bounds)
    await images.read((data(image("PNG")),), request("ada"))  # the processes have started
    endless = data(progressive(3000, (2000, 2000)))
    slow = asyncio.create_task(images.read((endless, endless), request("mallory")))
    assert await images.read((data(image("PNG")),), request("ada"))
    assert not slow.done()
    with pytest.raises(InvalidRequest, match="takes too long to decode"):
        await slow
    await workers.close()


async def test_images_are_held_until_the_request_ends(images: Images) -> None:
    first, second = request("ada"), request("ada")
    tight = replace(images, budget=Budget(20_000))  # 10,000 for a caller, who asks for that
    one = data(image("PNG"))
    await tight.read((one, one), first)
    waiting = asyncio.create_task(tight.read((one, one), second))
    await asyncio.sleep(0)
    assert tight.budget._waiting
    assert await tight.read((one,), request("bob"))
    first.outcome.cleanup.close()
    assert len(await waiting) == 2
