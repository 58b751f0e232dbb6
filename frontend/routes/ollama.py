"""Ollama's chat, generate and embed."""

import base64
import time
from dataclasses import dataclass, replace

from frontend.accounts.authorize import require
from frontend.accounts.roles import allows
from frontend.dialects.ollama.answers import OllamaReply, render_image, render_loading
from frontend.dialects.ollama.embed import check_dimensions, parse_embed, render_embed
from frontend.dialects.ollama.options import Options
from frontend.dialects.ollama.requests import (
    NAMES,
    OllamaCall,
    check_abilities,
    fit_context,
    parse_chat,
    parse_generate,
)
from frontend.domain.events import Event
from frontend.domain.identity import Permission
from frontend.domain.request import Request
from frontend.generation.path import Path
from frontend.generation.run import Run
from frontend.http.bounds import Bounds
from frontend.http.client import Client
from frontend.routes.replies import collect, send_ndjson, stream


@dataclass(frozen=True, slots=True)
class OllamaRoutes:
    """Conversations, texts, images and vectors. A model without a prompt is loaded or unloaded."""

    path: Path
    bounds: Bounds

    async def chat(self, request: Request, client: Client) -> None:
        """POST /api/chat"""
        body = await client.read_json(self.bounds.image_body)
        call = parse_chat(body, self.bounds.messages)
        del body  # its images, which are decoded below
        await self._answer(request, client, call)

    async def generate(self, request: Request, client: Client) -> None:
        """POST /api/generate"""
        call = parse_generate(await client.read_json(self.bounds.image_body))
        await self._answer(request, client, call)

    async def embed(self, request: Request, client: Client) -> None:
        """POST /api/embed"""
        await self._embed(request, client, single=False)

    async def embeddings(self, request: Request, client: Client) -> None:
        """POST /api/embeddings"""
        await self._embed(request, client, single=True)

    async def _answer(self, request: Request, client: Client, call: OllamaCall) -> None:
        reply = OllamaReply(call)
        request.outcome.names = NAMES
        with client.watched():
            # without a kind: /api/generate answers with texts and with images
            async with self.path.open(request, call.model) as run:
                if not call.unload:
                    self._keep(run, call.options)
                if call.generation is None:
                    await self._load(run, client, call)
                elif "image" in run.model.capabilities and call.image is not None:
                    await _draw(run, client, call)
                else:
                    await _generate(run, client, call, reply)

    async def _load(self, run: Run, client: Client, call: OllamaCall) -> None:
        """Loads a model that is not loaded now; unloading one takes it from every caller."""
        if call.unload:
            require(run.request.caller, Permission.LOAD)
            await self.path.fleet.unload(run.model.name)
        else:
            await run.load()
        run.request.outcome.warnings += call.options.warnings
        await client.respond(render_loading(call))

    def _keep(self, run: Run, options: Options) -> None:
        """Honours `keep_alive` of a caller who may load models; others get a warning."""
        fleet = self.path.fleet
        if options.keep_s is None or (options.keep_s and not fleet.is_on_demand(run.model)):
            return  # a model that always stays also stays that long
        may = allows(run.request.caller.role, Permission.LOAD)
        if not (may and fleet.keep(run.model, options.keep_s)):
            options.warn_of_stay()

    async def _embed(self, request: Request, client: Client, *, single: bool) -> None:
        start_ns = time.perf_counter_ns()
        body = await client.read_json(self.bounds.body)
        call = parse_embed(body, self.bounds.inputs, single=single)
        with client.watched():
            async with self.path.open(request, call.model) as run:
                run.require("embedding")
                self._keep(run, call.options)
                check_dimensions(call, run.model)
                call.options.warn_of_context(run.model.context_length)
                await run.load()
                load_ns, vectors = time.perf_counter_ns() - start_ns, None
                if call.embedding.texts:
                    vectors = await run.embed(call.embedding)
                    vectors = vectors.cut(call.dimensions or vectors.dimensions)
                times_ns = (time.perf_counter_ns() - start_ns, load_ns)
                request.outcome.warnings += call.options.warnings
                await client.respond(render_embed(call, vectors, times_ns))


async def _generate(run: Run, client: Client, call: OllamaCall, reply: OllamaReply) -> None:
    run.require("chat" if call.chat else "completion")
    check_abilities(call, run.model)
    call = fit_context(call, run.model)
    assert call.generation is not None
    ready = await run.prepare(call.generation, call.images, whole=not call.stream)
    call = replace(call, generation=ready, images=())
    reply.admitted()
    run.request.outcome.warnings += call.options.warnings
    if call.stream:
        lines = stream(run.generate(ready), reply.chunk, lambda: reply.last(run.usage))
        await send_ndjson(run.request, client, lines)
        return
    events: list[Event] = []

    def add(group: list[Event]) -> None:
        events.extend(group)
        reply.arrived()

    await collect(run.generate(ready), add)
    await client.respond(reply.last(run.usage, reply.collect(events)))


async def _draw(run: Run, client: Client, call: OllamaCall) -> None:
    start_ns = time.perf_counter_ns()
    assert call.image is not None
    (file,) = (await run.draw(call.image)).files
    await client.respond(render_image(call, base64.b64encode(file).decode(), start_ns))
