"""Images: drawn whole or with previews, sent in base64 or kept for a while behind a signed link."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from starlette.types import Receive, Scope, Send

from frontend.dialects.openai.image_answers import (
    count_usage,
    encode,
    render_completed,
    render_images,
    render_partial,
)
from frontend.dialects.openai.images import ImageCall, parse_image, previews, settle
from frontend.domain.images import Drawn
from frontend.domain.models import Model
from frontend.errors import InvalidRequest
from frontend.generation.run import Runner
from frontend.http.client import Client
from frontend.http.send import send_bytes
from frontend.http.sse import send_stream
from frontend.http.trace import current
from frontend.media.shelf import Shelf
from frontend.media.transcode import recode
from frontend.routes.openai import Bounds

FILES = "/v1/images/files/"
_HOST = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,255}")


@dataclass(frozen=True, slots=True)
class PictureRoutes:
    """One ASGI application per route; `public_url` is where links begin, if the operator says."""

    runner: Runner
    bounds: Bounds
    shelf: Shelf
    public_url: str

    async def generate(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/images/generations"""
        client = Client(scope, receive, send, self.bounds.client_timeout_s)
        call = self.bounds.parse(parse_image, await client.read_json(self.bounds.body))
        with client.watched():
            model = await self.runner.find(call.model, "image")
            current().model = model.name
            call = settle(call, model)
            if call.stream:
                await send_stream(client.send, self._stream(model, call), self.bounds.heartbeat_s)
                return
            files = await self._draw(model, call, current().id)
            usage = count_usage(call, files.prompt_tokens)
            current().usage = usage
            shown = [
                self._link(scope, one, call) if call.as_url else encode(one) for one in files.files
            ]
            await send_bytes(client.send, render_images(call, shown, usage))

    async def file(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/images/files/{name}"""
        kind, file = self.shelf.get(
            scope["path_params"]["name"], scope["query_string"].decode("latin-1")
        )
        headers = [
            (b"cache-control", b"private, max-age=%d" % self.shelf.ttl_s),
            (b"x-content-type-options", b"nosniff"),
        ]
        await send_bytes(send, file, headers=headers, kind=kind)

    async def refused(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/images/edits and /v1/images/variations"""
        client = Client(scope, receive, send, self.bounds.client_timeout_s)
        await client.discard(self.bounds.image_body.size_bytes)
        raise InvalidRequest(
            f"{scope['path']} is not available: the models here draw from a prompt alone; send it"
            " to /v1/images/generations",
            code="unsupported_operation",
        )

    async def _stream(self, model: Model, call: ImageCall) -> AsyncIterator[bytes]:
        """A preview is a drawing that ends early, so previews cost their share of the steps."""
        if call.drawing.seed is None:  # all of them must show one picture
            call = replace(call, drawing=replace(call.drawing, seed=secrets.randbelow(2**32)))
        for number, step in enumerate(previews(call, model)):
            early = replace(call, drawing=replace(call.drawing, stop_after=step))
            drawn = await self._draw(model, early, f"{current().id}-{number}")
            yield render_partial(call, number, drawn.files[0])
        drawn = await self._draw(model, call, current().id)
        usage = count_usage(call, drawn.prompt_tokens)
        current().usage = usage
        yield render_completed(call, drawn.files[0], usage)

    async def _draw(self, model: Model, call: ImageCall, engine_id: str) -> Drawn:
        """In the format that was asked for."""
        drawn = await self.runner.draw(model, call.drawing, engine_id)
        if call.format == "png":
            return drawn
        files = await asyncio.to_thread(
            lambda: [recode(file, call.format, call.compression) for file in drawn.files]
        )
        return replace(drawn, files=files)

    def _link(self, scope: Scope, file: bytes, call: ImageCall) -> str:
        return _origin(scope, self.public_url) + FILES + self.shelf.put(file, call.format)


def _origin(scope: Scope, public_url: str) -> str:
    """Where the client reaches this gateway: as the operator says, or as the client itself did."""
    if public_url:
        return public_url.rstrip("/")
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        raise InvalidRequest(
            "a link needs a plain Host header, or 'b64_json'", param="response_format"
        )
    return f"{scope['scheme']}://{hosts[0].decode()}"
