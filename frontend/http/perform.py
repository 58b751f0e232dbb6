"""Runs a handler of a route for a request that did not come over HTTP: a line of a batch.

The handler reads the body, and answers or fails, as it does for any client. Nobody disconnects.
"""

import asyncio

from starlette.types import Message

from frontend.audit.record import Recorder
from frontend.domain.request import Request
from frontend.http.client import Client
from frontend.http.failures import failure_of, send_error
from frontend.http.middleware import log_request
from frontend.http.routing import Handler

_TIMEOUT_S = 30.0


async def perform(
    handler: Handler, request: Request, body: bytes, recorder: Recorder | None = None
) -> tuple[int, bytes]:
    """The status and the body of the answer."""
    request.outcome.route, request.outcome.is_authenticated = request.outcome.path, True
    unread = [body]
    answer = bytearray()

    async def receive() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError("nobody disconnects")

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            request.outcome.status = message["status"]
        else:
            answer.extend(message.get("body", b""))

    path = request.outcome.path
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    scope = {
        "type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b"",
        "path_params": {}, "scheme": "http",
    }  # fmt: skip
    try:
        if recorder is not None:
            recorder.begin(request.outcome, has_text=True)
        await handler(request, Client(request, scope, receive, send, _TIMEOUT_S))
    except Exception as error:  # whatever it is, the line's author must get an error
        failure = failure_of(error, request.outcome)
        if not request.outcome.status:
            await send_error(send, failure, request.outcome)
    finally:
        request.outcome.cleanup.close()
        if recorder is not None:
            recorder.end(request.outcome, "")
        log_request(request.outcome)
    return request.outcome.status, bytes(answer)
