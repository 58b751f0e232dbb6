"""OpenAI's Responses API: read, look up what is continued, run, keep, translate back."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace

import orjson
from starlette.types import Receive, Scope, Send

from frontend.dialects.openai.response_answers import (
    ResponseWriter,
    render_deleted,
    render_input_items,
    render_input_tokens,
)
from frontend.dialects.openai.responses import NAMES, ResponseCall, parse_response
from frontend.domain.models import Model
from frontend.domain.usage import Usage, UsageCount
from frontend.errors import InvalidRequest, NotFound
from frontend.generation.run import Runner
from frontend.http.client import Client
from frontend.http.send import send_bytes
from frontend.http.sse import send_stream
from frontend.http.trace import current
from frontend.media.images import Images
from frontend.routes.openai import Bounds
from frontend.routes.structure import prepare
from frontend.store.responses import ResponseStore


@dataclass(frozen=True, slots=True)
class ResponsesRoutes:
    """One ASGI application per route; `frontend.app` has the table."""

    runner: Runner
    bounds: Bounds
    images: Images
    store: ResponseStore

    async def create(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/responses"""
        client = Client(scope, receive, send, self.bounds.client_timeout_s)
        body = await client.read_json(self.bounds.image_body)
        call = self.bounds.parse(parse_response, body, self.bounds.messages)
        del body  # its images, which are decoded below
        with client.watched():
            model, call = await self._settle(call)
            writer = ResponseWriter(call, current().id, model.name)
            pieces = self._pieces(model, call, writer)
            if call.stream:
                await send_stream(client.send, pieces, self.bounds.heartbeat_s, writer.failed)
                return
            async for _ in pieces:
                pass
            await send_bytes(client.send, orjson.dumps(writer.response(current().usage or Usage())))

    async def count(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/responses/input_tokens"""
        client = Client(scope, receive, send, self.bounds.client_timeout_s)
        body = await client.read_json(self.bounds.image_body)
        call = self.bounds.parse(parse_response, body, self.bounds.messages)
        del body  # its images, which are decoded below
        with client.watched():
            model, call = await self._settle(call)
            tokens = await self.runner.count_tokens(model, call.generation, current().engine_id)
            await send_bytes(client.send, render_input_tokens(tokens))

    async def retrieve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/responses/{id}"""
        if b"stream=true" in scope["query_string"]:
            raise InvalidRequest("'stream' is not supported: the response is whole", param="stream")
        response, _ = await self._stored(scope["path_params"]["id"], "id")
        await send_bytes(send, response)

    async def delete(self, scope: Scope, receive: Receive, send: Send) -> None:
        """DELETE /v1/responses/{id}"""
        response_id = scope["path_params"]["id"]
        if not await self.store.delete(response_id, current().caller.name):
            raise _unknown(response_id, "id")
        await send_bytes(send, render_deleted(response_id))

    async def input_items(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/responses/{id}/input_items"""
        response_id = scope["path_params"]["id"]
        _, items = await self._stored(response_id, "id")
        await send_bytes(send, render_input_items(items, response_id))

    async def cancel(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/responses/{id}/cancel"""
        await self._stored(scope["path_params"]["id"], "id")
        raise InvalidRequest(
            "only responses in the background can be cancelled, and there are none; close the"
            " connection to end one",
            code="unsupported_operation",
        )

    async def _settle(self, call: ResponseCall) -> tuple[Model, ResponseCall]:
        """The model, and the call with what it continues and its images."""
        current().names = NAMES
        model = await self.runner.find(call.model, "chat")
        current().model = model.name
        history = []
        if call.previous is not None:
            response, items = await self._stored(call.previous, "previous_response_id")
            history = [*items, *orjson.loads(response)["output"]]
        call = call.settled(history)
        if len(call.items) > self.bounds.messages:
            raise InvalidRequest(
                f"the conversation has {len(call.items)} items, at most {self.bounds.messages}"
                " are allowed",
                param="input",
            )
        generation = await self.images.attach(model, call.generation, call.images, current().owner)
        generation = await prepare(self.runner, generation, whole=not call.stream)
        return model, replace(call, generation=generation, images=())

    async def _pieces(
        self, model: Model, call: ResponseCall, writer: ResponseWriter
    ) -> AsyncIterator[bytes]:
        """The stream; kept before its last event, so that it can be continued at once."""
        count = UsageCount()
        groups = self.runner.generate(model, call.generation, current().engine_id)
        start = writer.first()  # with the first token, so that a failure before it is a status
        try:
            async with aclosing(groups):  # type: ignore[type-var]
                async for group in groups:
                    for event in group:
                        count.see(0, event)
                    yield start + b"".join([writer.chunk(event) for event in group])
                    start = b""
        finally:
            current().usage = count.total
        end = writer.last(count.total)
        if call.store:
            await self.store.put(writer.response(count.total), call.items, current().caller.name)
        yield end

    async def _stored(self, response_id: str, param: str) -> tuple[bytes, list[dict[str, object]]]:
        found = await self.store.get(response_id, current().caller.name)
        if found is None:
            raise _unknown(response_id, param)
        return found


def _unknown(response_id: str, param: str) -> Exception:
    said = f"there is no response '{response_id[:100]}', or its time is over"
    if param == "previous_response_id":
        said = f"Previous response with id '{response_id[:100]}' not found, or its time is over"
        return InvalidRequest(said, param=param, code="previous_response_not_found")
    return NotFound(said, param=param, code="response_not_found")
