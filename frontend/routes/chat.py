"""OpenAI's chat completions."""

from dataclasses import dataclass, replace
from functools import cache

from frontend.dialects.openai.chat import ChatCall, parse_chat
from frontend.dialects.openai.chat_answers import ChatAnswer, ChatChunks
from frontend.dialects.openai.models import fingerprint
from frontend.domain.events import Event
from frontend.domain.request import Request
from frontend.generation.path import Path
from frontend.generation.run import Run
from frontend.http.bounds import Bounds
from frontend.http.client import Client
from frontend.routes.replies import Pieces, collect, send_events, stream


@dataclass(frozen=True, slots=True)
class ChatRoutes:
    """Conversations."""

    path: Path
    bounds: Bounds

    async def create(self, request: Request, client: Client) -> None:
        """POST /v1/chat/completions"""
        body = await client.read_json(self.bounds.image_body)
        call = self.bounds.parse(request, parse_chat, body, self.bounds.messages)
        del body  # its images, which are decoded below
        request.outcome.names = call.names
        with client.watched():
            async with self.path.open(request, call.model, "chat") as run:
                ready = await run.prepare(call.generation, call.images, whole=not call.stream)
                # without the links, which hold the images as base64
                call = replace(call, generation=ready, images=())
                if call.stream:
                    pieces = _stream(run, call)
                    await send_events(request, client, pieces, self.bounds.heartbeat_s)
                else:
                    await client.respond(await _answer(run, call))


async def _answer(run: Run, call: ChatCall) -> bytes:
    # made when something came: until then another target of a canary may get the request
    answer = cache(lambda: ChatAnswer(call, run.request.id, run.model.name, fingerprint(run.model)))

    def add(group: list[Event]) -> None:
        for event in group:
            answer().add(event)

    await collect(run.generate(call.generation), add)
    return answer().render(run.usage)


def _stream(run: Run, call: ChatCall) -> Pieces:
    chunks = cache(lambda: ChatChunks(call, run.request.id, run.model.name, fingerprint(run.model)))

    return stream(
        run.generate(call.generation),
        lambda group: b"".join(map(chunks().chunk, group)),
        lambda: chunks().last(run.usage if call.stream_options.usage else None),
        lambda: chunks().first(),
    )
