"""OpenAI's Responses API: read, look up what is continued, run, keep, translate back."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cache

import orjson

from frontend.dialects.openai.response_answers import (
    ResponseWriter,
    render_deleted,
    render_input_items,
    render_input_tokens,
)
from frontend.dialects.openai.responses import NAMES, ResponseCall, parse_response
from frontend.domain.request import Request
from frontend.errors import InvalidRequest, NotFound
from frontend.generation.path import Path
from frontend.generation.run import Run
from frontend.http.bounds import Bounds
from frontend.http.client import Client
from frontend.http.failures import failure_of
from frontend.http.sse import send_stream
from frontend.routes.replies import Pieces, heartbeat_of, stream
from frontend.store.responses import ResponseStore


@dataclass(frozen=True, slots=True)
class ResponsesRoutes:
    """Conversations that are stored, so that the next request can continue them."""

    path: Path
    bounds: Bounds
    store: ResponseStore

    async def create(self, request: Request, client: Client) -> None:
        """POST /v1/responses"""
        call = await self._read(request, client)
        with client.watched():
            async with self.path.open(request, call.model, "chat") as run:
                call = await self._prepare(run, call)

                # made when something came: until then another target of a canary may get it
                writer = cache(lambda: ResponseWriter(call, request.id, run.model.name))
                pieces = self._stream(run, call, writer)
                if not call.stream:
                    # the whole answer is the state of the writer after the last event
                    async with aclosing(pieces):
                        async for _ in pieces:
                            pass
                    await client.respond(orjson.dumps(writer().response(run.usage)))
                    return

                def failed(error: Exception) -> bytes:
                    return writer().failed(failure_of(error, request.outcome))

                await send_stream(
                    client.send, pieces, heartbeat_of(request, self.bounds.heartbeat_s), failed
                )

    async def count(self, request: Request, client: Client) -> None:
        """POST /v1/responses/input_tokens"""
        call = await self._read(request, client)
        with client.watched():
            async with self.path.open(request, call.model, "chat") as run:
                call = await self._prepare(run, call)
                tokens = await run.count_tokens(call.generation)
                await client.respond(render_input_tokens(tokens))

    async def retrieve(self, request: Request, client: Client) -> None:
        """GET /v1/responses/{id}"""
        if b"stream=true" in client.scope["query_string"]:
            raise InvalidRequest(
                "'stream' is not supported for a stored response; leave it out", param="stream"
            )
        response, _ = await self._stored(request, client.scope["path_params"]["id"], "id")
        await client.respond(response)

    async def delete(self, request: Request, client: Client) -> None:
        """DELETE /v1/responses/{id}"""
        response_id = client.scope["path_params"]["id"]
        if not await self.store.delete(response_id, request.user):
            raise _unknown(response_id, "id")
        await client.respond(render_deleted(response_id))

    async def input_items(self, request: Request, client: Client) -> None:
        """GET /v1/responses/{id}/input_items"""
        response_id = client.scope["path_params"]["id"]
        _, items = await self._stored(request, response_id, "id")
        await client.respond(render_input_items(items, response_id))

    async def cancel(self, request: Request, client: Client) -> None:
        """POST /v1/responses/{id}/cancel"""
        await self._stored(request, client.scope["path_params"]["id"], "id")
        raise InvalidRequest(
            "only background responses can be cancelled, and this server does not have any;"
            " close the connection to end a response",
            code="unsupported_operation",
        )

    async def _read(self, request: Request, client: Client) -> ResponseCall:
        body = await client.read_json(self.bounds.image_body)
        call = self.bounds.parse(request, parse_response, body, self.bounds.messages)
        request.outcome.names = NAMES
        return call

    async def _prepare(self, run: Run, call: ResponseCall) -> ResponseCall:
        """The call with what it continues and its images."""
        history = []
        if call.previous is not None:
            stored = await self._stored(run.request, call.previous, "previous_response_id")
            history = [*stored[1], *orjson.loads(stored[0])["output"]]
        call = call.resolved(history)
        # with the history, which the bound of the body did not count
        if len(call.items) > self.bounds.messages:
            raise InvalidRequest(
                f"the conversation has {len(call.items)} items, at most {self.bounds.messages}"
                " are allowed",
                param="input",
            )
        ready = await run.prepare(call.generation, call.images, whole=not call.stream)
        return replace(call, generation=ready, images=())

    async def _stream(
        self, run: Run, call: ResponseCall, writer: Callable[[], ResponseWriter]
    ) -> Pieces:
        """The stream; stored before its last event, so that it can be continued at once."""
        pieces = stream(
            run.generate(call.generation),
            lambda group: b"".join(map(writer().chunk, group)),
            first=lambda: writer().first(),  # not before the first event
        )
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece
        end = writer().last(run.usage)
        if call.store:
            await self.store.put(writer().response(run.usage), call.items, run.request.user)
        yield end

    async def _stored(
        self, request: Request, response_id: str, param: str
    ) -> tuple[bytes, list[dict[str, object]]]:
        stored = await self.store.get(response_id, request.user)
        if stored is None:
            raise _unknown(response_id, param)
        return stored


def _unknown(response_id: str, param: str) -> Exception:
    text = f"there is no response '{response_id[:100]}', or it has expired"
    if param == "previous_response_id":
        text = f"Previous response with id '{response_id[:100]}' not found, or it has expired"
        return InvalidRequest(text, param=param, code="previous_response_not_found")
    return NotFound(text, param=param, code="response_not_found")
