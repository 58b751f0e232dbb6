"""Images, whole or with previews, sent in base64 or stored for a while behind a signed link."""

import asyncio
import secrets
from dataclasses import dataclass, replace

from frontend.dialects.openai.image_answers import (
    encode,
    render_completed,
    render_images,
    render_partial,
)
from frontend.dialects.openai.images import ImageCall, parse_image, previews, resolve
from frontend.domain.images import ImageResult
from frontend.domain.request import Request
from frontend.errors import InvalidRequest
from frontend.generation.path import Path
from frontend.generation.run import Run
from frontend.http.bounds import Bounds
from frontend.http.client import Client
from frontend.http.origin import origin_of
from frontend.media.links import Links
from frontend.media.transcode import recode
from frontend.routes.replies import Pieces, send_events

FILES = "/v1/images/files/"


@dataclass(frozen=True, slots=True)
class ImageRoutes:
    """`public_url` is where links begin; empty: as the client reached the gateway."""

    path: Path
    bounds: Bounds
    links: Links
    public_url: str

    async def generate(self, request: Request, client: Client) -> None:
        """POST /v1/images/generations"""
        body = await client.read_json(self.bounds.body)
        call = self.bounds.parse(request, parse_image, body)
        with client.watched():
            async with self.path.open(request, call.model, "image") as run:
                call = resolve(call, run.model)
                if call.stream:
                    pieces = _stream(run, call)
                    await send_events(request, client, pieces, self.bounds.heartbeat_s)
                    return
                result = await _draw(run, call)
                shown = [
                    await self._link(client, one, call) if call.as_url else encode(one)
                    for one in result.files
                ]
                await client.respond(render_images(call, shown, run.usage))

    async def file(self, _: Request, client: Client) -> None:
        """GET /v1/images/files/{name}"""
        kind, file = await self.links.get(
            client.scope["path_params"]["name"], client.scope["query_string"].decode("latin-1")
        )
        headers = [
            (b"cache-control", b"private, max-age=%d" % self.links.ttl_s),
            (b"x-content-type-options", b"nosniff"),
        ]
        await client.respond(file, headers=headers, kind=kind)

    async def refuse(self, _: Request, client: Client) -> None:
        """POST /v1/images/edits and /v1/images/variations"""
        # an answer before the body is read would reach the client as a reset connection
        await client.discard(self.bounds.image_body.size_bytes)
        raise InvalidRequest(
            f"{client.scope['path']} is not available: the models here generate images only from"
            " a prompt; send it to /v1/images/generations",
            code="unsupported_operation",
        )

    async def _link(self, client: Client, file: bytes, call: ImageCall) -> str:
        origin = origin_of(client, self.public_url)
        return origin + FILES + await self.links.put(file, call.format)


async def _stream(run: Run, call: ImageCall) -> Pieces:
    """A preview is an image that ends early, so previews cost their share of the steps."""
    if call.image.seed is None:  # all of them must show one image
        call = replace(call, image=replace(call.image, seed=secrets.randbelow(2**32)))
    for number, step in enumerate(previews(call, run.model)):
        early = replace(call, image=replace(call.image, stop_after=step))
        yield render_partial(call, number, (await _draw(run, early)).files[0])
    result = await _draw(run, call)
    yield render_completed(call, result.files[0], run.usage)


async def _draw(run: Run, call: ImageCall) -> ImageResult:
    """In the format that was asked for."""
    result = await run.draw(call.image)
    if call.format == "png":
        return result
    # encoding blocks, and the event loop serves everybody
    files = await asyncio.to_thread(
        lambda: [recode(file, call.format, call.compression) for file in result.files]
    )
    return replace(result, files=files)
