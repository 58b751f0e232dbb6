"""OpenAI's routes: read, translate, run, translate back. No policy of their own."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from starlette.types import Receive, Scope, Send

from frontend.dialects.anthropic import models as anthropic_models
from frontend.dialects.openai.chat import ChatCall, parse_chat
from frontend.dialects.openai.chat_answers import ChatAnswer, ChatChunks
from frontend.dialects.openai.completion_answers import CompletionAnswer, CompletionChunks
from frontend.dialects.openai.completions import CompletionCall, parse_completion
from frontend.dialects.openai.embeddings import (
    check_dimensions,
    check_ids,
    parse_embedding,
    render_embedding,
)
from frontend.dialects.openai.models import fingerprint, render_model, render_models
from frontend.domain.models import Model
from frontend.domain.usage import Usage, UsageCount
from frontend.errors import UnknownFields
from frontend.generation.fanout import generate_all
from frontend.generation.run import Runner
from frontend.http.client import BodyBounds, Client
from frontend.http.send import send_bytes
from frontend.http.sse import send_stream
from frontend.http.trace import current
from frontend.media.images import Images
from frontend.routes.structure import prepare, prepare_all

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The largest requests that are taken, the slowest clients, the longest silence."""

    body: BodyBounds
    image_body: BodyBounds
    messages: int
    inputs: int
    client_timeout_s: float
    heartbeat_s: float
    unknown_fields: str = "refuse"
    """Or `warn`: fields of a body that nobody knows."""

    def parse(self, parser: Callable[..., T], body: object, *bounds: Any, **options: Any) -> T:
        """What a dialect's parser makes of a body. Raises InvalidRequest."""
        try:
            return parser(body, *bounds, **options)
        except UnknownFields as error:
            if self.unknown_fields == "refuse" or not isinstance(body, dict):
                raise
            unknown = [name for name in body if name in error.names]
            current().warnings += [f"{name[:64]}: unknown" for name in unknown[:16]]
            kept = {name: value for name, value in body.items() if name not in error.names}
            return parser(kept, *bounds, **options)


@dataclass(frozen=True, slots=True)
class OpenAIRoutes:
    """One ASGI application per route; `frontend.app` has the table."""

    runner: Runner
    bounds: Bounds
    images: Images

    async def chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/chat/completions"""
        client = self._client(scope, receive, send)
        body = await client.read_json(self.bounds.image_body)
        call = self.bounds.parse(parse_chat, body, self.bounds.messages)
        del body  # its images, which are decoded below
        current().names = call.names
        with client.watched():
            model = await self._find(call.model, "chat")
            generation = await self.images.attach(
                model, call.generation, call.images, current().owner
            )
            generation = await prepare(self.runner, generation, whole=not call.stream)
            call = replace(call, generation=generation, images=())
            if call.stream:
                await self._send_stream(client, self._chat_stream(model, call))
            else:
                await send_bytes(client.send, await self._chat_answer(model, call))

    async def _chat_answer(self, model: Model, call: ChatCall) -> bytes:
        answer, count = ChatAnswer(call, *_about(model)), UsageCount()
        groups = self.runner.generate(model, call.generation, current().engine_id)
        try:
            async for group in groups:
                for event in group:
                    count.see(0, event)
                    answer.add(event)
        finally:
            current().usage = count.total
        return answer.render(count.total)

    async def _chat_stream(self, model: Model, call: ChatCall) -> AsyncIterator[bytes]:
        chunks, count = ChatChunks(call, *_about(model)), UsageCount()
        groups = self.runner.generate(model, call.generation, current().engine_id)
        start = chunks.first()  # with the first token, so that a failure before it is a status
        try:
            async with aclosing(groups):  # type: ignore[type-var]
                async for group in groups:
                    for event in group:
                        count.see(0, event)
                    yield start + b"".join([chunks.chunk(event) for event in group])
                    start = b""
        finally:
            current().usage = count.total
        yield chunks.last(count.total if call.stream_options.usage else None)

    async def completion(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/completions"""
        client = self._client(scope, receive, send)
        body = await client.read_json(self.bounds.body)
        call = self.bounds.parse(parse_completion, body, self.bounds.inputs)
        current().names = call.names
        with client.watched():
            model = await self._find(call.model, "completion")
            ready = await prepare_all(self.runner, call.generations, whole=not call.stream)
            call = replace(call, generations=ready)
            if call.stream:
                await self._send_stream(client, self._completion_stream(model, call))
            else:
                await send_bytes(client.send, await self._completion_answer(model, call))

    async def _completion_answer(self, model: Model, call: CompletionCall) -> bytes:
        answer, count = CompletionAnswer(call, *_about(model)), UsageCount()
        groups = generate_all(self.runner, model, call.generations, current().engine_id)
        try:
            async with aclosing(groups):  # type: ignore[type-var]
                async for prompt, group in groups:
                    for event in group:
                        count.see(prompt, event)
                        answer.add(prompt, event)
        finally:
            current().usage = count.total
        return answer.render(count.total)

    async def _completion_stream(self, model: Model, call: CompletionCall) -> AsyncIterator[bytes]:
        chunks, count = CompletionChunks(call, *_about(model)), UsageCount()
        groups = generate_all(self.runner, model, call.generations, current().engine_id)
        try:
            async with aclosing(groups):  # type: ignore[type-var]
                async for prompt, group in groups:
                    for event in group:
                        count.see(prompt, event)
                    yield b"".join([chunks.chunk(prompt, event) for event in group])
        finally:
            current().usage = count.total
        yield chunks.last(count.total if call.stream_options.usage else None)

    async def embedding(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/embeddings"""
        client = self._client(scope, receive, send)
        body = await client.read_json(self.bounds.body)
        call = self.bounds.parse(parse_embedding, body, self.bounds.inputs)
        with client.watched():
            model = await self._find(call.model, "embedding")
            check_dimensions(call.dimensions, model)
            check_ids(call.embedding, model)
            vectors = await self.runner.embed(model, call.embedding, current().id)
            current().usage = Usage(vectors.prompt_tokens)
            vectors = vectors.cut(call.dimensions or vectors.dimensions)
            await send_bytes(client.send, render_embedding(call, vectors, model.name))

    async def models(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/models"""
        await self.runner.catalogue.check()
        render = anthropic_models.render_models if _is_anthropics(scope) else render_models
        await send_bytes(send, render(self.runner.catalogue.models))

    async def model(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/models/{id}"""
        model = await self.runner.catalogue.find(scope["path_params"]["model"])
        render = anthropic_models.render_model if _is_anthropics(scope) else render_model
        await send_bytes(send, render(model))

    def _client(self, scope: Scope, receive: Receive, send: Send) -> Client:
        return Client(scope, receive, send, self.bounds.client_timeout_s)

    async def _send_stream(self, client: Client, pieces: AsyncIterator[bytes]) -> None:
        await send_stream(client.send, pieces, self.bounds.heartbeat_s)

    async def _find(self, name: str, capability: str) -> Model:
        model = await self.runner.find(name, capability)
        current().model = model.name
        return model


def _about(model: Model) -> tuple[str, str, str]:
    """An answer's id, whose it is, and what made it."""
    return current().id, model.name, fingerprint(model)


def _is_anthropics(scope: Scope) -> bool:
    return any(name == anthropic_models.HEADER for name, _ in scope["headers"])
