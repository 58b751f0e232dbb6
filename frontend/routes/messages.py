"""Anthropic's routes: read, translate, run, translate back; the same path as OpenAI's requests."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

from starlette.types import Receive, Scope, Send

from frontend.dialects.anthropic.answers import MessageAnswer, MessageStream, render_count
from frontend.dialects.anthropic.failures import render_stream_error
from frontend.dialects.anthropic.requests import (
    NAMES,
    MessagesCall,
    check_abilities,
    parse_messages,
)
from frontend.domain.models import Model
from frontend.domain.usage import UsageCount
from frontend.errors import GatewayError
from frontend.generation.run import Runner
from frontend.http.client import Client
from frontend.http.send import send_bytes
from frontend.http.sse import send_stream
from frontend.http.trace import current
from frontend.media.images import Images
from frontend.routes.openai import Bounds
from frontend.routes.structure import prepare


@dataclass(frozen=True, slots=True)
class MessagesRoutes:
    """One ASGI application per route; `frontend.app` has the table."""

    runner: Runner
    bounds: Bounds
    images: Images

    async def create(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/messages"""
        client = Client(scope, receive, send, self.bounds.client_timeout_s)
        body = await client.read_json(self.bounds.image_body)
        call = self.bounds.parse(parse_messages, body, self.bounds.messages)
        del body  # its images, which are decoded below
        with client.watched():
            model, call = await self._settle(call)
            if not call.stream:
                await send_bytes(client.send, await self._answer(model, call))
                return
            fail = partial(_fail, current().request_id)
            await send_stream(client.send, self._stream(model, call), self.bounds.heartbeat_s, fail)

    async def count(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/messages/count_tokens"""
        client = Client(scope, receive, send, self.bounds.client_timeout_s)
        body = await client.read_json(self.bounds.image_body)
        call = self.bounds.parse(parse_messages, body, self.bounds.messages, counting=True)
        del body
        with client.watched():
            model, call = await self._settle(call)
            tokens = await self.runner.count_tokens(model, call.generation, current().engine_id)
            await send_bytes(client.send, render_count(call, tokens))

    async def _settle(self, call: MessagesCall) -> tuple[Model, MessagesCall]:
        """The model, and the call with its images read."""
        current().names = NAMES
        model = await self.runner.find(call.model, "chat")
        current().model = model.name
        check_abilities(call, model)
        generation = await self.images.attach(model, call.generation, call.images, current().owner)
        generation = await prepare(self.runner, generation, whole=not call.stream)
        return model, replace(call, generation=generation, images=())

    async def _answer(self, model: Model, call: MessagesCall) -> bytes:
        answer, count = MessageAnswer(call, current().id, model.name), UsageCount()
        groups = self.runner.generate(model, call.generation, current().engine_id)
        try:
            async for group in groups:
                for event in group:
                    count.see(0, event)
                    answer.add(event)
        finally:
            current().usage = count.total
        return answer.render(count.total)

    async def _stream(self, model: Model, call: MessagesCall) -> AsyncIterator[bytes]:
        stream, count = MessageStream(call, current().id, model.name), UsageCount()
        groups = self.runner.generate(model, call.generation, current().engine_id)
        started = False
        try:
            async with aclosing(groups):  # type: ignore[type-var]
                async for group in groups:
                    for event in group:
                        count.see(0, event)
                    start = b"" if started else stream.first(count.total)
                    started = True
                    yield start + b"".join([stream.chunk(event) for event in group])
        finally:
            current().usage = count.total
        yield stream.last(count.total)


def _fail(request_id: str, error: GatewayError) -> bytes:
    return render_stream_error(error, request_id)
