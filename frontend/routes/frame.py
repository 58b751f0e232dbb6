"""What surrounds every request: its ids, its time, its error's shape, its one log line.

Pure ASGI, outermost. A failure before the first byte becomes an error response; one after it has
been told in the stream already, and is only logged here.
"""

import logging

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frontend.dialects.ollama.failures import render_error as render_ollama_error
from frontend.dialects.openai.failures import render_error
from frontend.errors import GatewayError, InvalidRequest, MethodNotAllowed, NotFound
from frontend.routes.client import ClientGone
from frontend.routes.http import send_bytes
from frontend.routes.trace import Trace

_log = logging.getLogger("frontend.access")


class Frame:
    """Wraps the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = Trace.begin(scope)

        async def framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                trace.status = message["status"]
                message["headers"] += _headers(trace)
            await send(message)

        try:
            await self._app(scope, receive, framed)
        except ClientGone as gone:
            trace.error = gone.reason
        except Exception as error:  # the one place that turns every failure into a response
            failure = _failure(error, trace)
            trace.error = failure.code or failure.type
            if not trace.status:
                await send_error(framed, failure, ollama=scope["path"].startswith("/api/"))
        finally:
            _log.info("%s", trace.line())


def _headers(trace: Trace) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-request-id", trace.request_id.encode()),
        (b"openai-processing-ms", b"%d" % trace.elapsed_ms),
    ]


async def send_error(send: Send, error: GatewayError, *, ollama: bool = False) -> None:
    """An error response in OpenAI's shape, or in Ollama's."""
    headers = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    body = render_ollama_error(error) if ollama else render_error(error)
    await send_bytes(send, body, status=error.status, headers=headers)


def _failure(error: Exception, trace: Trace) -> GatewayError:
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, HTTPException):
        if error.status_code == 404:
            return NotFound("there is no such route; see /v1/models for a start")
        if error.status_code == 405:
            return MethodNotAllowed("this route does not take that method")
        return InvalidRequest(str(error.detail))
    _log.exception("request %s", trace.id, exc_info=error)
    return GatewayError(f"the gateway failed; the operator finds why in the log as {trace.id}")
