"""Ollama's routes: read, translate, run, translate back; the same path as OpenAI's requests."""

import base64
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace

from starlette.types import Receive, Scope, Send

from frontend.accounts.authorize import require
from frontend.dialects.ollama.answers import OllamaReply, render_drawing, render_loading
from frontend.dialects.ollama.embed import check_dimensions, parse_embed, render_embed
from frontend.dialects.ollama.failures import render_error
from frontend.dialects.ollama.models import (
    parse_name,
    render_running,
    render_show,
    render_tags,
    render_version,
)
from frontend.dialects.ollama.requests import (
    NAMES,
    OllamaCall,
    check_abilities,
    fit_context,
    parse_chat,
    parse_generate,
)
from frontend.domain.identity import Permission
from frontend.domain.images import Drawing
from frontend.domain.models import Model
from frontend.domain.usage import Usage, UsageCount
from frontend.generation.presence import Presence
from frontend.generation.run import Runner
from frontend.http.client import Client
from frontend.http.ndjson import send_lines
from frontend.http.send import send_bytes
from frontend.http.trace import current
from frontend.media.images import Images
from frontend.routes.openai import Bounds
from frontend.routes.structure import prepare


@dataclass(frozen=True, slots=True)
class OllamaRoutes:
    """One ASGI application per route; `frontend.app` has the table."""

    runner: Runner
    bounds: Bounds
    presence: Presence
    images: Images

    async def hello(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET / and HEAD /"""
        await send_bytes(send, b"Ollama is running", kind=b"text/plain; charset=utf-8")

    async def version(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /api/version"""
        await send_bytes(send, render_version())

    async def tags(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /api/tags"""
        await self.runner.catalogue.check()
        await send_bytes(send, render_tags(self.runner.catalogue.names))

    async def running(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /api/ps"""
        await self.runner.catalogue.check()
        models = {model.name: model for model in self.runner.catalogue.models}
        await send_bytes(send, render_running(models))

    async def show(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /api/show"""
        client = self._client(scope, receive, send)
        name = parse_name(await client.read_json(self.bounds.body))
        await send_bytes(send, render_show(await self._find(name)))

    async def chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /api/chat"""
        client = self._client(scope, receive, send)
        body = await client.read_json(self.bounds.image_body)
        await self._answer(client, parse_chat(body, self.bounds.messages))

    async def generate(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /api/generate"""
        client = self._client(scope, receive, send)
        body = await client.read_json(self.bounds.image_body)
        await self._answer(client, parse_generate(body))

    async def embed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /api/embed"""
        await self._embed(self._client(scope, receive, send), single=False)

    async def embeddings(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /api/embeddings"""
        await self._embed(self._client(scope, receive, send), single=True)

    async def _answer(self, client: Client, call: OllamaCall) -> None:
        reply = OllamaReply(call)
        current().names = NAMES
        with client.watched():
            model = await self._find(call.model)
            if call.generation is None:
                await self._load(client, model, call)
                return
            if "image" in model.capabilities and call.drawing is not None:
                await self._draw(client, model, call)
                return
            model = await self.runner.find(model.name, "chat" if call.chat else "completion")
            check_abilities(call, model)
            call = fit_context(call, model)
            assert call.generation is not None
            generation = await self.images.attach(
                model, call.generation, call.images, current().owner
            )
            generation = await prepare(self.runner, generation, whole=not call.stream)
            call = replace(call, generation=generation, images=())
            reply.admitted()
            current().warnings += call.options.warnings
            if call.stream:
                await send_lines(client.send, self._lines(model, call, reply), render_error)
            else:
                await send_bytes(client.send, await self._whole(model, call, reply))

    async def _lines(
        self, model: Model, call: OllamaCall, reply: OllamaReply
    ) -> AsyncIterator[bytes]:
        assert call.generation is not None
        count = UsageCount()
        groups = self.runner.generate(model, call.generation, current().engine_id)
        try:
            async with aclosing(groups):  # type: ignore[type-var]
                async for group in groups:
                    for event in group:
                        count.see(0, event)
                    yield reply.chunk(group)
        finally:
            current().usage = count.total
        yield reply.last(count.total)

    async def _whole(self, model: Model, call: OllamaCall, reply: OllamaReply) -> bytes:
        assert call.generation is not None
        count, events = UsageCount(), []
        groups = self.runner.generate(model, call.generation, current().engine_id)
        try:
            async for group in groups:
                for event in group:
                    count.see(0, event)
                events += group
                reply.arrived()
        finally:
            current().usage = count.total
        return reply.last(count.total, reply.collect(events))

    async def _load(self, client: Client, model: Model, call: OllamaCall) -> None:
        """Models are loaded already; unloading one takes it from everybody."""
        if call.unload:
            require(current().caller, Permission.LOAD)
            await self.presence.unload(model.name)
        await send_bytes(client.send, render_loading(call))

    async def _draw(self, client: Client, model: Model, call: OllamaCall) -> None:
        start_ns, given = time.perf_counter_ns(), call.drawing
        assert given is not None
        drawing = Drawing(
            given.prompt,
            width=given.width,
            height=given.height,
            steps=given.steps,
            seed=given.seed,
        )
        drawn = await self.runner.draw(model, drawing, current().id)
        current().usage = Usage(drawn.prompt_tokens)
        (image,) = drawn.files
        shown = base64.b64encode(image).decode()
        await send_bytes(client.send, render_drawing(call, shown, start_ns))

    async def _embed(self, client: Client, *, single: bool) -> None:
        start_ns = time.perf_counter_ns()
        body = await client.read_json(self.bounds.body)
        call = parse_embed(body, self.bounds.inputs, single=single)
        with client.watched():
            found = await self._find(call.model)
            model = await self.runner.find(found.name, "embedding")
            check_dimensions(call, model)
            call.options.warn_of_context(model.context_length)
            load_ns, vectors = time.perf_counter_ns() - start_ns, None
            if call.embedding.texts:
                vectors = await self.runner.embed(model, call.embedding, current().id)
                current().usage = Usage(vectors.prompt_tokens)
                vectors = vectors.cut(call.dimensions or vectors.dimensions)
            times_ns = (time.perf_counter_ns() - start_ns, load_ns)
            current().warnings += call.options.warnings
            await send_bytes(client.send, render_embed(call, vectors, times_ns))

    async def _find(self, name: str) -> Model:
        """Raises ModelNotFound."""
        model = await self.runner.catalogue.find(name)
        current().model = model.name
        return model

    def _client(self, scope: Scope, receive: Receive, send: Send) -> Client:
        return ollama_client(scope, receive, send, self.bounds)


def ollama_client(scope: Scope, receive: Receive, send: Send, bounds: Bounds) -> Client:
    """Ollama reads JSON from whatever a client calls its body, and its examples rely on that."""
    return Client(scope, receive, send, bounds.client_timeout_s, any_type=True)
