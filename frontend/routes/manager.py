"""Ollama's routes that change which models there are: for admins, and as far as Triton goes.

Pulling loads a model that the repository holds, deleting unloads one and leaves its files.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
from starlette.types import Receive, Scope, Send

from frontend.dialects.ollama.failures import render_error
from frontend.dialects.ollama.models import parse_name, parse_pull
from frontend.errors import NotSupported
from frontend.generation.presence import Presence
from frontend.http.ndjson import send_lines
from frontend.http.send import send_bytes
from frontend.routes.ollama import ollama_client
from frontend.routes.openai import Bounds
from frontend.upstreams.registry import spellings

_AGAIN_S = 5.0  # a load takes a minute, and clients wait for a line


@dataclass(frozen=True, slots=True)
class ManagerRoutes:
    """Every caller that gets here is an admin."""

    presence: Presence
    bounds: Bounds

    async def pull(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /api/pull"""
        client = ollama_client(scope, receive, send, self.bounds)
        body = await client.read_json(self.bounds.body)
        asked, stream = parse_pull(body)
        name = await self.presence.find(spellings(asked))
        with client.watched():
            if stream:
                await send_lines(client.send, self._loading(name), render_error)
            else:
                await self.presence.load(name)
                await send_bytes(client.send, _status("success"))

    async def _loading(self, name: str) -> AsyncIterator[bytes]:
        load = asyncio.create_task(self.presence.load(name))
        try:
            while not load.done():
                yield _status(f"loading {name}")
                await asyncio.wait([load], timeout=_AGAIN_S)
            await load
            yield _status("success")
        finally:
            load.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await load

    async def delete(self, scope: Scope, receive: Receive, send: Send) -> None:
        """DELETE /api/delete"""
        client = ollama_client(scope, receive, send, self.bounds)
        body = await client.read_json(self.bounds.body)
        name = await self.presence.find(spellings(parse_name(body)))
        await self.presence.unload(name)
        await send_bytes(client.send, b"")

    async def refused(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What makes or moves a model's files is the toolkit's."""
        raise NotSupported(
            f"{scope['path'][:100]} is not available here: models are built by the operator"
            " (toolkit build-repo) and loaded by name (/api/pull)"
        )


def _status(text: str) -> bytes:
    return orjson.dumps({"status": text}) + b"\n"
