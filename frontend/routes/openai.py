"""OpenAI's routes: read, translate, run, translate back. No policy of their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from frontend.dialects.openai.chat import ChatAnswer, ChatCall, ChatChunks, parse_chat
from frontend.dialects.openai.completions import (
    CompletionAnswer,
    CompletionCall,
    CompletionChunks,
    parse_completion,
)
from frontend.dialects.openai.embeddings import parse_embedding, render_embedding
from frontend.dialects.openai.failures import render_stream_error
from frontend.dialects.openai.images import check_limits, parse_image, render_images
from frontend.dialects.openai.models import render_model, render_models
from frontend.domain import Event, Generation, Model, UsageCount
from frontend.errors import GatewayError
from frontend.generation.run import Runner
from frontend.routes.frame import request_id
from frontend.routes.http import cancelled_with_client, read_json, send_bytes, send_stream


@dataclass(frozen=True, slots=True)
class Bounds:
    """The largest requests that are taken."""

    body_bytes: int
    messages: int
    inputs: int


@dataclass(frozen=True, slots=True)
class OpenAIRoutes:
    """One ASGI application per route; `frontend.app` has the table."""

    runner: Runner
    bounds: Bounds

    async def chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/chat/completions"""
        body = await read_json(Request(scope, receive), self.bounds.body_bytes)
        call = parse_chat(body, self.bounds.messages)
        with cancelled_with_client(receive):
            model = await self.runner.find(call.model, "chat")
            if call.stream:
                await send_stream(send, self._chat_stream(model, call))
                return
            answer, count = ChatAnswer.of(call, request_id(), model.name), UsageCount()
            async for group in self.runner.generate(model, call.generation, request_id()):
                for event in group:
                    count.see(0, event)
                    answer.add(event)
            await send_bytes(send, answer.render(count.total))

    async def _chat_stream(self, model: Model, call: ChatCall) -> AsyncIterator[bytes]:
        chunks, count = ChatChunks(call, request_id(), model.name), UsageCount()
        started = False
        try:
            async with aclosing(
                self.runner.generate(model, call.generation, request_id())  # type: ignore[type-var]
            ) as groups:
                async for group in groups:
                    if not started:
                        started = True
                        yield chunks.first()
                    for event in group:
                        count.see(0, event)
                    yield b"".join([chunks.chunk(event) for event in group])
            yield chunks.last(count.total if call.include_usage else None)
        except GatewayError as error:
            if not started:
                raise
            yield render_stream_error(error)

    async def completion(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/completions"""
        body = await read_json(Request(scope, receive), self.bounds.body_bytes)
        call = parse_completion(body, self.bounds.inputs)
        with cancelled_with_client(receive):
            model = await self.runner.find(call.model, "completion")
            if call.stream:
                await send_stream(send, self._completion_stream(model, call))
                return
            answer, count = CompletionAnswer(call, request_id(), model.name), UsageCount()
            async with aclosing(self._merged(model, call.generations)) as events:  # type: ignore[type-var]
                async for prompt, group in events:
                    for event in group:
                        count.see(prompt, event)
                        answer.add(prompt, event)
            await send_bytes(send, answer.render(count.total))

    async def _completion_stream(self, model: Model, call: CompletionCall) -> AsyncIterator[bytes]:
        chunks, count = CompletionChunks(call, request_id(), model.name), UsageCount()
        started = False
        try:
            async with aclosing(self._merged(model, call.generations)) as events:  # type: ignore[type-var]
                async for prompt, group in events:
                    started = True
                    for event in group:
                        count.see(prompt, event)
                    yield b"".join([chunks.chunk(prompt, event) for event in group])
            yield chunks.last(count.total if call.include_usage else None)
        except GatewayError as error:
            if not started:
                raise
            yield render_stream_error(error)

    async def _merged(
        self, model: Model, generations: list[Generation]
    ) -> AsyncIterator[tuple[int, list[Event]]]:
        """The events of several prompts as they come; the first failure ends all of them."""
        if len(generations) == 1:
            async for group in self.runner.generate(model, generations[0], request_id()):
                yield 0, group
            return
        arrived: asyncio.Queue[tuple[int, list[Event] | None]] = asyncio.Queue(maxsize=64)

        async def pump(number: int, generation: Generation) -> None:
            groups = self.runner.generate(model, generation, f"{request_id()}-{number}")
            async with aclosing(groups):  # type: ignore[type-var]
                async for group in groups:
                    await arrived.put((number, group))
            await arrived.put((number, None))

        pumps = [
            asyncio.create_task(pump(number, generation))
            for number, generation in enumerate(generations)
        ]
        try:
            left = len(pumps)
            while left:
                number, group_or_end = await _next(arrived, pumps)
                if group_or_end is None:
                    left -= 1
                else:
                    yield number, group_or_end
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def embedding(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/embeddings"""
        body = await read_json(Request(scope, receive), self.bounds.body_bytes)
        call = parse_embedding(body, self.bounds.inputs)
        with cancelled_with_client(receive):
            model = await self.runner.find(call.model, "embedding")
            vectors = await self.runner.embed(model, call.embedding, request_id())
            await send_bytes(send, render_embedding(call, vectors, model.name))

    async def image(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/images/generations"""
        body = await read_json(Request(scope, receive), self.bounds.body_bytes)
        call = parse_image(body)
        with cancelled_with_client(receive):
            model = await self.runner.find(call.model, "image")
            if model.image is not None:
                check_limits(call.drawing, model.image)
            images = await self.runner.draw(model, call.drawing, request_id())
            await send_bytes(send, render_images(images))

    async def models(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/models"""
        await self.runner.catalogue.check()
        await send_bytes(send, render_models(self.runner.catalogue.models))

    async def model(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/models/{id}"""
        model = await self.runner.catalogue.find(scope["path_params"]["model"])
        await send_bytes(send, render_model(model))


async def _next(
    arrived: asyncio.Queue[tuple[int, list[Event] | None]], pumps: list[asyncio.Task[None]]
) -> tuple[int, list[Event] | None]:
    """The next arrival; raises what a pump failed with."""
    getting = asyncio.ensure_future(arrived.get())
    while not getting.done():
        running = [pump for pump in pumps if not pump.done()]
        for pump in pumps:
            if pump.done() and pump.exception() is not None:
                getting.cancel()
                pump.result()
        await asyncio.wait([getting, *running], return_when=asyncio.FIRST_COMPLETED)
    return getting.result()
