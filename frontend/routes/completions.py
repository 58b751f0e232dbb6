"""OpenAI's text completions."""

from dataclasses import dataclass, replace
from functools import cache

from frontend.dialects.openai.completion_answers import CompletionAnswer, CompletionChunks
from frontend.dialects.openai.completions import CompletionCall, parse_completion
from frontend.dialects.openai.models import fingerprint
from frontend.domain.request import Request
from frontend.generation.path import Path
from frontend.generation.run import Run
from frontend.http.bounds import Bounds
from frontend.http.client import Client
from frontend.routes.replies import Pieces, collect, send_events, stream
from frontend.upstreams.fanout import Numbered


@dataclass(frozen=True, slots=True)
class CompletionRoutes:
    """Texts that are continued, or filled in."""

    path: Path
    bounds: Bounds

    async def create(self, request: Request, client: Client) -> None:
        """POST /v1/completions"""
        body = await client.read_json(self.bounds.body)
        call = self.bounds.parse(request, parse_completion, body, self.bounds.inputs)
        request.outcome.names = call.names
        with client.watched():
            async with self.path.open(request, call.model, "completion") as run:
                ready = await run.prepare_all(call.generations, whole=not call.stream)
                call = replace(call, generations=ready)
                if call.stream:
                    pieces = _stream(run, call)
                    await send_events(request, client, pieces, self.bounds.heartbeat_s)
                else:
                    await client.respond(await _answer(run, call))


async def _answer(run: Run, call: CompletionCall) -> bytes:
    # made when something came: until then another target of a canary may get the request
    answer = cache(
        lambda: CompletionAnswer(call, run.request.id, run.model.name, fingerprint(run.model))
    )

    def add(arrival: Numbered) -> None:
        prompt, group = arrival
        for event in group:
            answer().add(prompt, event)

    await collect(run.generate_all(call.generations), add)
    return answer().render(run.usage)


def _stream(run: Run, call: CompletionCall) -> Pieces:
    chunks = cache(
        lambda: CompletionChunks(call, run.request.id, run.model.name, fingerprint(run.model))
    )

    return stream(
        run.generate_all(call.generations),
        lambda arrival: b"".join([chunks().chunk(arrival[0], event) for event in arrival[1]]),
        lambda: chunks().last(run.usage if call.stream_options.usage else None),
    )
