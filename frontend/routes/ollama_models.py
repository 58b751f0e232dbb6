"""Ollama's routes about models: which there are, and loading and unloading them, for admins.

Pulling loads a model that the repository holds, deleting unloads one and leaves its files.
"""

import asyncio
import contextlib
from dataclasses import dataclass

import orjson

from frontend.accounts.scopes import allows_model, require_model, visible
from frontend.dialects.ollama.models import (
    parse_name,
    parse_pull,
    render_running,
    render_show,
    render_tags,
    render_version,
)
from frontend.domain.request import Request
from frontend.errors import ModelNotFound, NotSupported
from frontend.http.bounds import Bounds
from frontend.http.client import Client
from frontend.routes.replies import Pieces, send_ndjson
from frontend.upstreams.fleet import Fleet
from frontend.upstreams.member import Member
from frontend.upstreams.names import spellings

_AGAIN_S = 5.0  # a load takes a minute, and clients wait for a line


@dataclass(frozen=True, slots=True)
class OllamaModelRoutes:
    """The list of models, and changes to it."""

    fleet: Fleet
    bounds: Bounds

    async def version(self, _: Request, client: Client) -> None:
        """GET /api/version"""
        await client.respond(render_version())

    async def list(self, request: Request, client: Client) -> None:
        """GET /api/tags"""
        await self.fleet.check()
        seen = {one.name for one in visible(request.caller.scope, self.fleet.models)}
        names = {name: one for name, one in self.fleet.names.items() if one.name in seen}
        await client.respond(render_tags(names))

    async def running(self, request: Request, client: Client) -> None:
        """GET /api/ps"""
        await self.fleet.check()
        models = visible(request.caller.scope, self.fleet.loaded)
        await client.respond(render_running((one, self.fleet.expires_s(one)) for one in models))

    async def show(self, request: Request, client: Client) -> None:
        """POST /api/show"""
        name = parse_name(await client.read_json(self.bounds.body))
        model = require_model(request.caller.scope, name, await self.fleet.find(name))
        request.outcome.model = model.name
        await client.respond(render_show(model))

    async def pull(self, request: Request, client: Client) -> None:
        """POST /api/pull"""
        body = await client.read_json(self.bounds.body)
        asked, stream = parse_pull(body)
        member, name = await self._stored(request, asked)
        with client.watched():
            if stream:
                await send_ndjson(request, client, _load(member, name))
            else:
                await member.registry.load(name)
                await client.respond(_status("success"))

    async def delete(self, request: Request, client: Client) -> None:
        """DELETE /api/delete"""
        name = parse_name(await client.read_json(self.bounds.body))
        member, stored = await self._stored(request, name)
        await member.registry.unload(stored)
        await client.respond(b"")

    async def _stored(self, request: Request, asked: str) -> tuple[Member, str]:
        """An upstream that can load the model, and its name there. Raises NotFound if there is
        none, or the caller's key does not allow the model."""
        member, name = await self.fleet.find_stored(spellings(asked))
        # a scope may name the model or its alias
        if not allows_model(request.caller.scope, (asked, name)):
            raise ModelNotFound(asked)
        return member, name

    async def refuse(self, _: Request, client: Client) -> None:
        """Whatever makes or moves a model's files: the toolkit does that."""
        raise NotSupported(
            f"{client.scope['path'][:100]} is not available here: the operator builds models"
            " (toolkit"
            " build-repo); /api/pull loads them by name"
        )


async def _load(member: Member, name: str) -> Pieces:
    load = asyncio.create_task(member.registry.load(name))
    try:
        while not load.done():
            yield _status(f"loading {name}")
            await asyncio.wait([load], timeout=_AGAIN_S)
        await load
        yield _status("success")
    finally:
        # ends this request's wait; the registry's own load continues for others
        load.cancel()
        # a failure was raised above; after a cancellation there is no client to report it to
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await load


def _status(text: str) -> bytes:
    return orjson.dumps({"status": text}) + b"\n"
