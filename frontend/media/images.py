"""The images of one request: links → plain files, all of them or an error that names the first bad.

Links are `data:` URLs or `https:` ones. What a request brings, and what becomes of it, is bounded
in number, bytes and pixels; decoding runs in processes with a deadline, and images that are held
for their model have a budget of memory.
"""

import asyncio
import re
from dataclasses import dataclass, replace

from frontend.budget import Budget
from frontend.domain.generation import Generation, ImageLink
from frontend.domain.models import Input, Model
from frontend.domain.request import Request
from frontend.errors import InvalidRequest
from frontend.media.fetch import Fetcher, FetchFailed
from frontend.media.transcode import BadImage, DecodeLimits, decode, to_plain
from frontend.workers import WorkerDied, Workers, WorkerTimeout

_DATA = re.compile(r"data:image/[a-z0-9.+-]{1,20}(?:;[a-z]+=[\w.-]{1,40})*;base64,", re.I | re.A)


@dataclass(frozen=True, slots=True)
class ImageBounds:
    """Of one request: images, bytes of one file that comes, bytes of all files that are made."""

    count: int
    file_bytes: int
    request_bytes: int
    image: DecodeLimits


@dataclass(frozen=True, slots=True)
class Images:
    """Reads requests' images."""

    fetcher: Fetcher
    workers: Workers
    budget: Budget
    bounds: ImageBounds

    async def attach(
        self, model: Model, generation: Generation, links: tuple[ImageLink, ...], request: Request
    ) -> Generation:
        """The generation with the files that its prompt refers to.

        Raises InvalidRequest for a model without vision, before anything is downloaded, and for the
        first link that is refused.
        """
        if not links:
            return generation
        if "vision" not in model.capabilities or Input.IMAGES not in model.accepts:
            raise InvalidRequest(
                f"the model '{model.name}' does not accept images; send text parts only",
                param=links[0].path,
                code="unsupported_content",
            )
        return replace(generation, images=await self.read(links, request))

    async def read(self, links: tuple[ImageLink, ...], request: Request) -> tuple[bytes, ...]:
        """The files in order. Raises InvalidRequest naming the first link that is refused."""
        if len(links) > self.bounds.count:
            raise InvalidRequest(
                f"the request has {len(links)} images; at most {self.bounds.count} are allowed",
                param=links[self.bounds.count].path,
            )
        # as much as they may become, since their size is known only once they are decoded
        most = min(len(links) * self.bounds.image.encoded_bytes, self.bounds.request_bytes)
        hold = await self.budget.take(request.user, most)
        request.outcome.cleanup.callback(hold.release)
        files = await self._read_all(links, request)
        hold.resize(sum(map(len, files)))
        return files

    async def _read_all(self, links: tuple[ImageLink, ...], request: Request) -> tuple[bytes, ...]:
        left = self.bounds.request_bytes

        async def read(link: ImageLink) -> bytes:
            nonlocal left
            file = await self._read(link, request)
            left -= len(file)
            if left < 0:
                raise InvalidRequest(
                    f"the images of the request have more than {self.bounds.request_bytes} bytes"
                    " after encoding for the model; send fewer or smaller ones",
                    param=link.path,
                    code="invalid_image",
                )
            return file

        # tasks of our own, because `gather` leaves the others running when one fails
        tasks = [asyncio.ensure_future(read(link)) for link in links]
        try:
            return tuple(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def _read(self, link: ImageLink, request: Request) -> bytes:
        image = self.bounds.image
        try:
            if link.url[:5].lower() == "data:":
                text = self._base64(link.url)
                # base64 is decoded there, too, and not in the event loop
                return await self.workers.call(decode, text, image, caller=request.user)
            file = await self.fetcher.fetch(link.url, request.user)
            return await self.workers.call(to_plain, file, image, caller=request.user)
        except (FetchFailed, BadImage) as error:
            problem = str(error)
        except WorkerTimeout:
            problem = "takes too long to decode"
        except (WorkerDied, MemoryError):
            problem = "cannot be decoded"
        raise InvalidRequest(
            f"the image '{link.path}' {problem}", param=link.path, code="invalid_image"
        )

    def _base64(self, url: str) -> str:
        # only the head, since the rest may have megabytes
        head = _DATA.match(url[:200])
        if head is None:
            raise BadImage("is not a 'data:image/...;base64,' URL")
        # three bytes are four characters, with up to two of padding
        if len(url) - head.end() > self.bounds.file_bytes * 4 // 3 + 4:
            raise BadImage(f"is larger than {self.bounds.file_bytes} bytes")
        return url[head.end() :]
