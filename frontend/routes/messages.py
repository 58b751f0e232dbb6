"""Anthropic's messages."""

from dataclasses import dataclass, replace
from functools import cache

from frontend.dialects.anthropic.answers import MessageAnswer, MessageStream, render_count
from frontend.dialects.anthropic.requests import (
    NAMES,
    MessagesCall,
    check_abilities,
    parse_messages,
)
from frontend.domain.events import Event
from frontend.domain.request import Request
from frontend.generation.path import Path
from frontend.generation.run import Run
from frontend.http.bounds import Bounds
from frontend.http.client import Client
from frontend.routes.replies import Pieces, collect, send_events, stream


@dataclass(frozen=True, slots=True)
class MessagesRoutes:
    """Conversations, and how many tokens they have."""

    path: Path
    bounds: Bounds

    async def create(self, request: Request, client: Client) -> None:
        """POST /v1/messages"""
        call = await self._read(request, client)
        with client.watched():
            async with self.path.open(request, call.model, "chat") as run:
                call = await _prepare(run, call)
                if call.stream:
                    pieces = _stream(run, call)
                    await send_events(request, client, pieces, self.bounds.heartbeat_s)
                else:
                    await client.respond(await _answer(run, call))

    async def count(self, request: Request, client: Client) -> None:
        """POST /v1/messages/count_tokens"""
        call = await self._read(request, client, counting=True)
        with client.watched():
            async with self.path.open(request, call.model, "chat") as run:
                call = await _prepare(run, call)
                await client.respond(render_count(call, await run.count_tokens(call.generation)))

    async def _read(
        self, request: Request, client: Client, *, counting: bool = False
    ) -> MessagesCall:
        body = await client.read_json(self.bounds.image_body)
        most = self.bounds.messages
        call = self.bounds.parse(request, parse_messages, body, most, counting=counting)
        request.outcome.names = NAMES
        return call


async def _prepare(run: Run, call: MessagesCall) -> MessagesCall:
    check_abilities(call, run.model)
    ready = await run.prepare(call.generation, call.images, whole=not call.stream)
    return replace(call, generation=ready, images=())


async def _answer(run: Run, call: MessagesCall) -> bytes:
    # made when something came: until then another target of a canary may get the request
    answer = cache(lambda: MessageAnswer(call, run.request.id, run.model))

    def add(group: list[Event]) -> None:
        for event in group:
            answer().add(event)

    await collect(run.generate(call.generation), add)
    return answer().render(run.usage)


def _stream(run: Run, call: MessagesCall) -> Pieces:
    reply = cache(lambda: MessageStream(call, run.request.id, run.model))

    return stream(
        run.generate(call.generation),
        lambda group: b"".join(map(reply().chunk, group)),
        lambda: reply().last(run.usage),
        lambda: reply().first(run.usage),
    )
