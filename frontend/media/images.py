"""The images of one request: links → PNG files, all of them or one error that names the first bad.

Links are `data:` URLs or `https:` ones. What a request may bring is bounded in number, bytes and
pixels; decoding runs in few threads, so that images cannot take the gateway from everyone else.
"""

import asyncio
import base64
import binascii
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from frontend.domain import Generation, ImageLink, Model
from frontend.errors import InvalidRequest
from frontend.media.fetch import Fetcher, FetchFailed
from frontend.media.pictures import BadPicture, to_png

_DATA = re.compile(r"data:image/[a-z0-9.+-]{1,20}(?:;[a-z]+=[\w.-]{1,40})*;base64,", re.I | re.A)
_THREADS = 2


@dataclass(frozen=True, slots=True)
class Images:
    """Reads requests' images."""

    fetcher: Fetcher
    max_count: int
    max_bytes: int
    max_pixels: int
    _pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_THREADS, "images"), init=False
    )

    async def attach(
        self, model: Model, generation: Generation, links: tuple[ImageLink, ...]
    ) -> Generation:
        """The generation with the files that its prompt refers to.

        Raises InvalidRequest for a model that takes none, before anything is fetched, and for the
        first link that is not taken.
        """
        if not links:
            return generation
        if not ("vision" in model.capabilities and "images" in model.takes):
            raise InvalidRequest(
                f"the model '{model.name}' takes no images; send text parts only",
                param=links[0].path,
                code="unsupported_content",
            )
        return replace(generation, images=await self.read(links))

    async def read(self, links: tuple[ImageLink, ...]) -> tuple[bytes, ...]:
        """The files in order. Raises InvalidRequest naming the first link that is not taken."""
        if len(links) > self.max_count:
            raise InvalidRequest(
                f"'messages' holds {len(links)} images, at most {self.max_count} are allowed",
                param="messages",
            )
        tasks = [asyncio.ensure_future(self._read(link)) for link in links]
        try:
            return tuple(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def _read(self, link: ImageLink) -> bytes:
        try:
            file = await self._file(link.url)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, to_png, file, self.max_pixels)
        except (FetchFailed, BadPicture) as error:
            raise InvalidRequest(
                f"the image '{link.path}' {error}", param=link.path, code="invalid_image"
            ) from None

    async def _file(self, url: str) -> bytes:
        if url[:5].lower() != "data:":
            return await self.fetcher.fetch(url)
        head = _DATA.match(url[:200])
        if head is None:
            raise BadPicture("is no 'data:image/...;base64,' URL")
        if len(url) - head.end() > self.max_bytes * 4 // 3 + 4:
            raise BadPicture(f"is larger than {self.max_bytes} bytes")
        try:
            return base64.b64decode(url[head.end() :], validate=True)
        except binascii.Error:
            raise BadPicture("is no valid base64") from None

    def close(self) -> None:
        """Ends the threads without waiting for images that nobody wants any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
